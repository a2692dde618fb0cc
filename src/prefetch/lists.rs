//! The lists among the sources of a prefetch: checked when it is asked for, read when it is their turn.

use std::rc::Rc;

use super::{
    Refused, Spec, Variants,
    playlist::{self, BadPlaylist},
    queue::NAME_BYTES,
};
use crate::{
    file,
    hls::{self, abr::VariantIndex},
    pcm::SourceName,
    shard::{By, Job, Refusal, Shard, Wanted, Which},
};

/// The bounds of a list of sources.
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// Its size.
    pub bytes: u64,
    /// Its lines.
    pub lines: usize,
}

/// Why there are no sources of a list.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// It cannot be had.
    #[error(transparent)]
    Refused(Refusal),
    /// Its body broke off.
    #[error("the list broke off")]
    Broken,
    /// It is longer than lists may be.
    #[error("the list is over {0} bytes")]
    Long(u64),
    /// It names something else than sources.
    #[error(transparent)]
    Bad(#[from] BadPlaylist),
    /// One of its sources may not be called so.
    #[error("{of}: {error}")]
    Source {
        /// Which one.
        of: SourceName,
        /// Why.
        error: file::Error,
    },
}

/// Checks that every source may be asked for.
///
/// # Errors
/// Which one, and why.
pub fn check(shard: &Shard, spec: &Spec) -> Result<(), Refused> {
    checked(shard, &spec.sources).map_err(|(of, error)| Refused::Source { of, error })
}

fn checked(shard: &Shard, sources: &[SourceName]) -> Result<(), (SourceName, file::Error)> {
    for source in sources {
        let key = shard.files.key(&source.name, &source.path);
        key.map_err(|error| (source.clone(), error))?;
    }
    Ok(())
}

/// The sources that a list names.
pub(super) async fn read(
    shard: &Rc<Shard>,
    source: &SourceName,
    variants: Variants,
    limits: ListLimits,
) -> Result<Vec<SourceName>, Unread> {
    let text = read_text(shard, source, limits.bytes).await?;
    let is_library = |name: &str| shard.files.is_library(name);
    let is_known = |name: &str| shard.files.is_known(name);
    let sources = match playlist::sources(&text, source, limits.lines, is_known, is_library) {
        Err(BadPlaylist::Hls) => resources(shard, source, variants).await?,
        sources => sources?,
    };
    checked(shard, &sources).map_err(|(of, error)| Unread::Source { of, error })?;
    Ok(sources)
}

/// What the variants of a presentation are made of, but for keys, which are never on disk.
async fn resources(
    shard: &Rc<Shard>,
    source: &SourceName,
    variants: Variants,
) -> Result<Vec<SourceName>, Unread> {
    let which = match variants {
        Variants::All => Which::All,
        Variants::Auto => Which::Best,
        Variants::Number(number) => {
            let none = || Unread::Refused(hls::Error::NoVariant("64 at most".to_owned()).into());
            Which::Number(VariantIndex(number.try_into().map_err(|_| none())?))
        }
    };
    let sources = shard.resources(source, which).await.map_err(Unread::Refused)?;
    let bytes: usize = sources.iter().map(|source| source.name.len() + source.path.len()).sum();
    if bytes > NAME_BYTES { Err(BadPlaylist::Names.into()) } else { Ok(sources) }
}

/// The text of a list, by the way of every client.
async fn read_text(
    shard: &Rc<Shard>,
    source: &SourceName,
    limit_bytes: u64,
) -> Result<Vec<u8>, Unread> {
    let wanted = Wanted { by: By::Node, ..Wanted::default() };
    let job = Job::Object { source: source.clone(), wanted };
    let mut response = shard.request(job).await.map_err(Unread::Refused)?;
    let mut text: Vec<u8> = Vec::new();
    loop {
        match response.body.recv().await {
            Some(Ok(Some(sent))) => {
                let block = sent.block();
                if (text.len() + block.len()) as u64 > limit_bytes {
                    return Err(Unread::Long(limit_bytes));
                }
                text.extend_from_slice(block);
            }
            Some(Ok(None)) => return Ok(text),
            Some(Err(_)) | None => return Err(Unread::Broken),
        }
    }
}
