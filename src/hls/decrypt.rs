//! AES-128 as HLS has it: CBC over all of a segment, padded to whole blocks (RFC 8216 section 4.3.2.4).
//!
//! Pure: no I/O, no clock, no executor.

use aes::Aes128;
use cbc::{
    Decryptor,
    cipher::{BlockModeDecrypt, KeyIvInit},
};

/// Bytes of a key, of an initialization vector and of a block.
pub const BLOCK_BYTES: usize = 16;

/// The bytes do not end as encrypted ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPadding;

/// Decrypts a resource in order. The last block is held back, since what of it is padding shows only where
/// nothing follows.
pub(super) struct Decrypt {
    cipher: Decryptor<Aes128>,
    /// What has not been given out: less than a block of what came, or a whole one.
    held: [u8; BLOCK_BYTES],
    held_bytes: usize,
}

impl Decrypt {
    /// From the first block on; or from a later one, where `iv` is the block before it as it came.
    pub(super) fn new(key: &[u8; BLOCK_BYTES], iv: &[u8; BLOCK_BYTES]) -> Self {
        Self {
            cipher: Decryptor::new(key.into(), iv.into()),
            held: [0; BLOCK_BYTES],
            held_bytes: 0,
        }
    }

    /// Bytes that `count` more bring out.
    pub(super) fn bytes_of(&self, count: usize) -> usize {
        let all = self.held_bytes + count;
        // Of whole blocks the last stays.
        all.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES
    }

    /// Decrypts `coming` into `out`, which has room for [as many](Self::bytes_of).
    pub(super) fn push(&mut self, mut coming: &[u8], out: &mut [u8]) {
        let count = self.bytes_of(coming.len());
        let (out, _) = out.split_at_mut(count);
        if count > 0 {
            let held = self.held_bytes;
            out[..held].copy_from_slice(&self.held[..held]);
            let (first, rest) = coming.split_at(count - held);
            out[held..].copy_from_slice(first);
            (coming, self.held_bytes) = (rest, 0);
            for block in out.chunks_exact_mut(BLOCK_BYTES) {
                let block: &mut [u8; BLOCK_BYTES] = block.try_into().expect("it is a block");
                self.cipher.decrypt_block(block.into());
            }
        }
        let end = self.held_bytes + coming.len();
        self.held[self.held_bytes..end].copy_from_slice(coming);
        self.held_bytes = end;
    }

    /// Nothing follows: the rest goes to the start of `out`, which has room for a block, and is so many bytes.
    ///
    /// # Errors
    /// It was not whole, or has another key.
    pub(super) fn finish(mut self, out: &mut [u8]) -> Result<usize, BadPadding> {
        if self.held_bytes != BLOCK_BYTES {
            // Nothing at all is nothing.
            return Err(BadPadding);
        }
        self.cipher.decrypt_block((&mut self.held).into());
        let padding = usize::from(self.held[BLOCK_BYTES - 1]);
        let is_right = (1..=BLOCK_BYTES).contains(&padding)
            && self.held[BLOCK_BYTES - padding..].iter().all(|byte| usize::from(*byte) == padding);
        if !is_right {
            return Err(BadPadding);
        }
        let rest = &self.held[..BLOCK_BYTES - padding];
        out[..rest.len()].copy_from_slice(rest);
        Ok(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of NIST SP 800-38A, F.2.2: the key, the vector and the first two blocks.
    const KEY: [u8; 16] = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
    const IV: [u8; 16] = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();
    const CIPHER: [u128; 2] =
        [0x7649_abac_8119_b246_cee9_8e9b_12e9_197d, 0x5086_cb9b_5072_19ee_95db_113a_9176_78b2];
    const PLAIN: [u128; 2] =
        [0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a, 0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51];

    fn bytes(blocks: &[u128]) -> Vec<u8> {
        blocks.iter().flat_map(|block| block.to_be_bytes()).collect()
    }

    fn decrypted(cipher: &[u8], piece: usize) -> (Vec<u8>, Result<usize, BadPadding>) {
        let (mut decrypt, mut plain) = (Decrypt::new(&KEY, &IV), Vec::new());
        for coming in cipher.chunks(piece) {
            let mut out = vec![0; decrypt.bytes_of(coming.len())];
            decrypt.push(coming, &mut out);
            plain.extend(out);
        }
        (plain, decrypt.finish(&mut [0; BLOCK_BYTES]))
    }

    #[test]
    fn it_is_the_standards_cipher_however_its_bytes_come() {
        // Behind the two blocks comes one that is held back.
        let cipher = bytes(&[CIPHER[0], CIPHER[1], 7]);
        for piece in [1, 5, 16, 17, 32, 48] {
            let (plain, end) = decrypted(&cipher, piece);
            assert_eq!((plain, end), (bytes(&PLAIN), Err(BadPadding)), "{piece}");
        }
    }

    #[test]
    fn it_can_be_entered_behind_any_block() {
        let mut decrypt = Decrypt::new(&KEY, &CIPHER[0].to_be_bytes());
        let mut out = [0; 16];
        decrypt.push(&bytes(&[CIPHER[1], 7]), &mut out);
        assert_eq!(out, PLAIN[1].to_be_bytes());
    }

    #[test]
    fn what_is_cut_or_has_another_key_is_seen() {
        let cipher = bytes(&CIPHER);
        assert_eq!(decrypted(&cipher, 7).1, Err(BadPadding), "it has no padding");
        assert_eq!(decrypted(&cipher[..20], 7).1, Err(BadPadding), "it is no whole block");
        assert_eq!(decrypted(&[], 7).1, Err(BadPadding));
    }
}
