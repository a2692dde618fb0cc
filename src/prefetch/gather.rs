//! What a prefetch comes to once the lists among its sources are read.

use std::rc::Rc;

use super::{Refused, Spec, playlist};
use crate::{
    pcm::SourceName,
    shard::{Job, Refusal, Shard, Wanted},
};

/// The bounds of a list of sources.
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// Its size.
    pub bytes: u64,
    /// Its lines.
    pub lines: usize,
}

/// Checks that every source may be asked for, and puts those in the place of each list that it names.
///
/// # Errors
/// Which source, and why.
pub async fn gather(shard: &Rc<Shard>, spec: Spec, limits: ListLimits) -> Result<Spec, Refused> {
    let mut sources = Vec::with_capacity(spec.sources.len());
    for source in spec.sources {
        match playlist::is_playlist(&source) {
            true => sources.extend(listed(shard, source, limits).await?),
            false => sources.push(source),
        }
    }
    for source in &sources {
        let key = shard.files.key(&source.name, &source.path);
        key.map_err(|error| Refused::Source { of: source.clone(), error })?;
    }
    Ok(Spec { sources, ..spec })
}

async fn listed(
    shard: &Rc<Shard>,
    source: SourceName,
    limits: ListLimits,
) -> Result<Vec<SourceName>, Refused> {
    let text = match read_list(shard, &source, limits.bytes).await {
        Ok(Some(text)) => text,
        Ok(None) => return Err(Refused::Cut { of: source, limit_bytes: limits.bytes }),
        Err(refusal) => return Err(Refused::Unread { of: source, refusal }),
    };
    let is_library = |name: &str| shard.files.is_library(name);
    let is_known = |name: &str| shard.files.is_known(name);
    let sources = playlist::sources(&text, &source, limits.lines, is_known, is_library);
    sources.map_err(|why| Refused::BadPlaylist { of: source, why })
}

/// The text of a list, by the way of every client. `None`: it is too long, or it broke off.
async fn read_list(
    shard: &Rc<Shard>,
    source: &SourceName,
    limit_bytes: u64,
) -> Result<Option<Vec<u8>>, Refusal> {
    let wanted = Wanted { is_own: true, ..Wanted::default() };
    let job = Job::Object { source: source.clone(), wanted };
    let mut response = shard.request(job).await?;
    let mut text: Vec<u8> = Vec::new();
    loop {
        match response.body.recv().await {
            Some(Ok(Some(sent))) => {
                let block = sent.block();
                if (text.len() + block.len()) as u64 > limit_bytes {
                    return Ok(None);
                }
                text.extend_from_slice(block);
            }
            Some(Ok(None)) => return Ok(Some(text)),
            Some(Err(_)) | None => return Ok(None),
        }
    }
}
