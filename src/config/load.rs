//! Reads the configuration of this process: its file and its environment.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{
    merge::{Error, FILE_VARIABLE, File, Flag, Inputs, Merged, PREFIX},
    validate::Broken,
};

/// The file that is read when none is named, if the working directory has it.
pub const DEFAULT_FILE: &str = "kithara.toml";

/// A larger file is a mistake: a device, a log, a song.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Merges the file, the environment of this process and `flags`, and validates the result.
/// `file` is named by a flag; else by the environment; else it is [`DEFAULT_FILE`] if there.
///
/// # Errors
/// What a person has to change, and where.
pub fn load(file: Option<&Path>, flags: Vec<Flag>) -> Result<Merged, Error> {
    let inputs = Inputs { file: read_file(file)?, environment: environment()?, flags };
    let merged = Merged::new(&inputs)?;
    merged.config.validate(cores()).map_err(|broken| placed(&merged, broken))?;
    libraries_are_there(&merged)?;
    Ok(merged)
}

/// How many cores this process may use: its affinity and its cgroup's quota, at least one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_file(named: Option<&Path>) -> Result<Option<File>, Error> {
    let variable = || env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
    let named = named.map(Path::to_path_buf).or_else(|| variable().map(PathBuf::from));
    let is_named = named.is_some();
    let path = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match read_bounded(&path) {
        Ok(text) => Ok(Some(File { name: path.display().to_string(), text })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(Error {
            what: format!("the configuration file cannot be read: {error}"),
            place: Some(path.display().to_string()),
            hint: Some(format!("name it with --config FILE or {FILE_VARIABLE}=FILE")),
        }),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if about.len() > FILE_MAX_BYTES {
        return Err(io::Error::other("larger than 16MiB"));
    }
    fs::read_to_string(path)
}

/// The variables with our prefix.
fn environment() -> Result<Vec<(String, String)>, Error> {
    let ours = env::vars_os().filter_map(|(name, text)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, text))
    });
    ours.map(|(name, text)| match text.into_string() {
        Ok(text) => Ok((name, text)),
        Err(_) => {
            Err(Error { what: "the value is not UTF-8".to_owned(), place: Some(name), hint: None })
        }
    })
    .collect()
}

fn libraries_are_there(merged: &Merged) -> Result<(), Error> {
    for (name, library) in &merged.config.library {
        let why = match fs::metadata(&library.dir) {
            Ok(about) if about.is_dir() => continue,
            Ok(_) => "not a directory".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = format!("library `{name}` is {}: {why}", library.dir.display());
        return Err(placed(merged, Broken { what, key: format!("library.{name}.dir") }));
    }
    Ok(())
}

/// A broken relation with the place its key was set at. Defaults have no place.
fn placed(merged: &Merged, broken: Broken) -> Error {
    let source = merged.source(&broken.key);
    let place = (*source != super::Source::Default).then(|| source.to_string());
    Error { what: broken.what, place, hint: Some(format!("change `{}`", broken.key)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("node.toml");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = load(Some(Path::new("/no/such/kithara.toml")), vec![]).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("/no/such/kithara.toml"));
        let error = load(Some(Path::new("/dev/zero")), vec![]).unwrap_err();
        assert!(error.what.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_broken_relation_names_the_line_that_set_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "\nmemory = \"1MiB\"\n");
        let error = load(Some(&path), vec![]).unwrap_err();
        assert_eq!(error.place, Some(format!("{}:2", path.display())));
        assert!(error.what.starts_with("`memory` is 1MiB"), "{error}");
    }

    #[test]
    fn a_library_is_a_directory_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let song = dir.path().join("song.mp3");
        fs::write(&song, "x").unwrap();
        let text = |dir: &Path| format!("[library.local]\ndir = {:?}", dir.to_str().unwrap());
        let path = write(dir.path(), &text(dir.path()));
        load(Some(&path), vec![]).unwrap();
        let path = write(dir.path(), &text(&song));
        assert!(load(Some(&path), vec![]).unwrap_err().what.ends_with("not a directory"));
        let path = write(dir.path(), &text(&dir.path().join("none")));
        load(Some(&path), vec![]).unwrap_err();
    }
}
