//! Decoders that nobody uses just now, kept for the next who wants one of the same stream.
//!
//! A decoder of Vorbis builds its codebooks out of the headers of its stream, which takes longer than a
//! listener is to wait (1.3 ms, where a packet takes 30 us). Reset, it is as a new one. Files that one
//! encoder made with the same settings have the same codebooks, so one serves a whole library.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    rc::Rc,
};

use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, well_known::CODEC_ID_VORBIS,
};

use crate::bufpool::{BufPool, Idle};

/// What a decoder of Vorbis takes beyond what any other does, in bytes: its codebooks. Clients that had
/// stopped reading held 1315 KiB more each (`in node` of `cargo bench --bench allocation`).
pub const VORBIS_BYTES: usize = 1344 << 10;
/// Decoders that are kept at most.
const SPARES: usize = 4;

/// The spare decoders of one shard. A clone is another handle to the same ones.
#[derive(Clone, Default)]
pub(super) struct Spares {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// What they are counted in; `None`: none is kept.
    pool: Option<BufPool>,
    /// The one that was used last comes last.
    kept: Vec<(Box<dyn AudioDecoder>, Idle)>,
}

impl Spares {
    /// Keeps decoders from now on, in what `pool` has to spare.
    pub(super) fn keep_in(&self, pool: &BufPool) {
        self.inner.borrow_mut().pool = Some(pool.clone());
        let inner = Rc::downgrade(&self.inner);
        pool.on_shortage(move |bytes| {
            if let Some(inner) = inner.upgrade() {
                Self { inner }.give_up(bytes.div_ceil(VORBIS_BYTES));
            }
        });
    }

    /// A decoder that is as new, for a stream of these parameters: a spare one, or what `make` makes.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn take<E>(
        &self,
        params: &AudioCodecParameters,
        make: impl FnOnce() -> Result<Box<dyn AudioDecoder>, E>,
    ) -> Result<Lent, E> {
        let decoder = self.find(params).map_or_else(make, Ok)?;
        Ok(Lent { decoder: Some(decoder), home: self.clone() })
    }

    fn find(&self, params: &AudioCodecParameters) -> Option<Box<dyn AudioDecoder>> {
        let kept = &mut self.inner.borrow_mut().kept;
        let at = kept.iter().rposition(|(decoder, _)| serves(&**decoder, params))?;
        Some(kept.remove(at).0)
    }

    fn keep(&self, mut decoder: Box<dyn AudioDecoder>) {
        if !is_kept(decoder.codec_params()) {
            return;
        }
        let Some(pool) = self.inner.borrow().pool.clone() else { return };
        let count = self.inner.borrow().kept.len();
        self.give_up((count + 1).saturating_sub(SPARES));
        // Not under the borrow: where there is no room, the others are given up.
        let Ok(charge) = pool.charge(VORBIS_BYTES) else { return };
        decoder.reset();
        self.inner.borrow_mut().kept.push((decoder, charge.into_idle()));
    }

    /// Drops those that were used longest ago.
    fn give_up(&self, count: usize) {
        let mut inner = self.inner.borrow_mut();
        let count = count.min(inner.kept.len());
        inner.kept.drain(..count);
    }
}

/// Whether a decoder with these parameters is worth keeping, and a reset one as good as a new one.
fn is_kept(params: &AudioCodecParameters) -> bool {
    params.codec == CODEC_ID_VORBIS
}

/// Whether a decoder that is reset is as a new one for a stream of these parameters.
fn serves(decoder: &dyn AudioDecoder, params: &AudioCodecParameters) -> bool {
    let its = decoder.codec_params();
    is_kept(its) && its.codec == params.codec && its.extra_data == params.extra_data
}

/// A decoder in use. Dropping it leaves it to others.
pub(super) struct Lent {
    /// Present until the drop.
    decoder: Option<Box<dyn AudioDecoder>>,
    home: Spares,
}

impl Lent {
    /// Makes it as new, for a stream of these parameters.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn renew<E>(
        &mut self,
        params: &AudioCodecParameters,
        make: impl FnOnce() -> Result<Box<dyn AudioDecoder>, E>,
    ) -> Result<(), E> {
        if serves(&**self, params) {
            self.reset();
        } else {
            *self = self.home.take(params, make)?;
        }
        Ok(())
    }
}

impl Deref for Lent {
    type Target = dyn AudioDecoder;

    fn deref(&self) -> &Self::Target {
        &**self.decoder.as_ref().expect("a lent decoder is there until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut **self.decoder.as_mut().expect("a lent decoder is there until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.home.keep(decoder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        bufpool::{self, Class},
        decode::{Ask, Decoder, DecoderOptions, Error, Stacks, Step, mp3::Mp3},
        demo,
        stream::Resident,
    };

    fn strings() -> Vec<u8> {
        demo::FILES.iter().find(|file| file.name == "strings.ogg").unwrap().bytes.to_vec()
    }

    fn decoder(stacks: &Stacks, bytes: &[u8]) -> Decoder {
        let pool = BufPool::new(bufpool::Options { budget_bytes: 16 << 20 });
        let resident = Resident::new(Some(bytes.len() as u64));
        for (index, part) in bytes.chunks(Class::Large.bytes()).enumerate() {
            let mut block = pool.take(Class::Large).unwrap();
            block[..part.len()].copy_from_slice(part);
            resident.insert((index * Class::Large.bytes()) as u64, block.freeze(part.len()));
        }
        Decoder::new(stacks, resident, Ask::default()).unwrap()
    }

    /// The bits of the next `count` frames on the left.
    fn listen(decoder: &mut Decoder, count: usize) -> Result<Vec<u32>, Error> {
        let mut heard = Vec::new();
        while heard.len() < count {
            match decoder.step(Instant::now() + Duration::from_secs(10))? {
                Step::Frames => {
                    heard.extend(decoder.frames().planes[0].iter().map(|sample| sample.to_bits()));
                }
                Step::End => break,
                _ => {}
            }
        }
        Ok(heard)
    }

    fn with_pool(budget_bytes: usize) -> (Stacks, BufPool) {
        let pool = BufPool::new(bufpool::Options { budget_bytes });
        let stacks = Stacks::new(DecoderOptions::default());
        stacks.keep_spares(&pool);
        (stacks, pool)
    }

    fn kept(pool: &BufPool) -> usize {
        pool.stats().idle_bytes / VORBIS_BYTES
    }

    #[test]
    fn what_was_left_by_damage_is_heard_by_nobody() {
        let (stacks, pool) = with_pool(16 << 20);
        let whole = listen(&mut decoder(&stacks, &strings()), 200_000).unwrap();
        assert_eq!((kept(&pool), pool.stats().in_use_bytes()), (1, 0));
        for seed in 0..8 {
            let mut damaged = strings();
            let from = damaged.len() / 3 + seed * 1009;
            damaged[from..from + 3000].iter_mut().for_each(|byte| *byte ^= 0x5A);
            let mut first = decoder(&stacks, &damaged);
            listen(&mut first, 100_000 + seed * 777).unwrap();
            assert_eq!(kept(&pool), 0, "it is in use");
            drop(first);
            let again = listen(&mut decoder(&stacks, &strings()), 200_000).unwrap();
            assert!(again == whole, "seed {seed}");
            assert_eq!(kept(&pool), 1);
        }
    }

    #[test]
    fn a_stream_of_other_headers_gets_another_one() {
        let (stacks, _pool) = with_pool(16 << 20);
        let made = Cell::new(0);
        let made_for = |headers: &[u8]| {
            let mut params = AudioCodecParameters::new();
            params.for_codec(CODEC_ID_VORBIS).with_extra_data(headers.into());
            let before = made.get();
            let mut lent = stacks.spares().take(&params, || {
                made.set(made.get() + 1);
                // What decodes is nothing to them.
                Ok::<_, Error>(Box::new(Mp3::new(&params)) as Box<dyn AudioDecoder>)
            });
            let lent = lent.as_mut().unwrap();
            assert_eq!(lent.codec_params().extra_data.as_deref(), Some(headers));
            made.get() > before
        };
        let headers: [&[u8]; 5] = [b"one", b"one", b"other", b"one", b"other"];
        assert_eq!(headers.map(made_for), [true, false, true, false, false]);
    }

    #[test]
    fn no_more_are_kept_than_a_few_and_none_that_others_need_the_memory_of() {
        let (stacks, pool) = with_pool(16 << 20);
        let all: Vec<_> = (0..7)
            .map(|_| {
                let mut one = decoder(&stacks, &strings());
                listen(&mut one, 1000).unwrap();
                one
            })
            .collect();
        drop(all);
        assert_eq!(kept(&pool), SPARES);
        let charge = pool.charge((16 << 20) - 2 * VORBIS_BYTES).unwrap();
        assert_eq!(kept(&pool), 2);
        drop(charge);
        let all = pool.charge(16 << 20).unwrap();
        assert_eq!(kept(&pool), 0);
        listen(&mut decoder(&stacks, &strings()), 1000).unwrap();
        assert_eq!(kept(&pool), 0, "there is no room");
        drop(all);
    }

    #[test]
    fn only_what_is_costly_to_make_is_kept() {
        let (stacks, pool) = with_pool(16 << 20);
        for file in demo::FILES.iter().filter(|file| file.name != "strings.ogg") {
            listen(&mut decoder(&stacks, file.bytes), 1000).unwrap();
        }
        assert_eq!(pool.stats().used_bytes, 0);
    }
}
