//! What the volumes of a cache say of it where its FORMAT does not.

use std::{fs, io, path::Path};

use super::VolumeFiles;
use crate::storage::format::{Format, SUPERBLOCK_BYTES, uuid_of};

/// The FORMAT that a directory without one had; `None` where there are no volumes either.
///
/// # Errors
/// What to do, where it cannot be told: to write any other would make the volumes those of another cache.
pub(super) fn format_of_volumes(dir: &Path) -> Result<Option<Format>, String> {
    let numbers = volumes(dir).map_err(|error| format!("cannot be read: {error}"))?;
    if numbers.is_empty() {
        return Ok(None);
    }
    format_of(dir, &numbers).map(Some).map_err(|why| {
        let count = numbers.len();
        format!(
            "FORMAT is missing and {count} volumes are there; nothing was changed. Put FORMAT back: it \
             cannot be made from them, {why}. Or begin another cache with --cache"
        )
    })
}

fn format_of(dir: &Path, numbers: &[u32]) -> Result<Format, String> {
    // So many there are in every cache: a hole, or volumes that are gone from the end, show.
    if !numbers.len().is_power_of_two() || !numbers.iter().copied().eq(0..numbers.len() as u32) {
        return Err("since some are missing".to_owned());
    }
    let mut uuids = numbers.iter().map(|number| uuid(dir, *number));
    let first = uuids.next().expect("there is one")?;
    for (number, uuid) in (1..).zip(uuids) {
        if uuid? != first {
            return Err(format!("volume.{number} is of another cache than volume.0"));
        }
    }
    Ok(Format { uuid: first, volumes: numbers.len() as u32 })
}

fn uuid(dir: &Path, number: u32) -> Result<u128, String> {
    let unsound = |why: String| format!("the superblock of volume.{number} {why}");
    let bytes = fs::read(VolumeFiles::of(dir, number).superblock);
    let bytes = bytes.map_err(|error| unsound(format!("cannot be read ({error})")))?;
    let mut copies = bytes.chunks(SUPERBLOCK_BYTES);
    let found = uuid_of([copies.next(), copies.next()], number);
    let found = found.map_err(|error| unsound(format!("is refused ({error})")))?;
    found.ok_or_else(|| unsound("is not sound".to_owned()))
}

/// The numbers of the volumes that hold anything, in order.
fn volumes(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let number =
            entry.file_name().to_str().and_then(|name| name.strip_prefix("volume.")?.parse().ok());
        let Some(number) = number else { continue };
        let files = fs::read_dir(entry.path()).into_iter().flatten().flatten();
        if files.into_iter().any(|file| file.metadata().is_ok_and(|about| about.len() > 0)) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
