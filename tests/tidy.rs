//! The shape of the source tree, checked by reading it.
//!
//! A failure here names the file, the line and the rule, and says what to do. Nothing in this
//! file measures taste: sizes are printed, not enforced.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers, lowest first. A file may use only modules of lower layers and its own folder.
///
/// Modules of one layer do not know each other; whoever needs two of them sits above both.
const LAYERS: &[&[&str]] = &[
    &["bufpool", "demo"],
    &["storage"],
    &["runtime"],
    &["net", "assets"],
    &["stream"],
    &["decode", "encode"],
    &["file", "hls"],
    &["pcm"],
    &["shard"],
    &["prefetch"],
    &["server"],
    &["config"],
    &["cli"],
];

/// Crates that only some files may name, with those files. Everything else sees them through these.
const SEAMS: &[(&str, &[&str])] = &[
    ("glommio", &["runtime/", "storage/dma.rs"]),
    ("hyper", &["runtime/", "net/", "server/"]),
    // What FLAC is encoded to is read back by the decoder that serves it.
    ("symphonia", &["decode/", "encode/flac/tests.rs"]),
    ("nanomp3", &["decode/mp3.rs"]),
    ("opus_pure", &["decode/opus.rs", "encode/opus.rs"]),
    ("prometheus_client", &["server/metrics/"]),
    ("realfft", &["decode/resample.rs"]),
    ("rubato", &["decode/resample.rs"]),
    ("rusty_mp3", &["encode/mp3/"]),
    ("syom", &["decode/he_aac.rs", "decode/surround.rs", "encode/aac.rs"]),
];

/// Crates that have locks for threads, with those that may use them all the same. What these do with
/// them stands below the invariants in `src/lib.rs`; a further pair needs its reason there.
const LOCKS: &[(&str, &[&str])] = &[
    ("async-lock", &[]),
    ("crossbeam", &["glommio"]),
    ("crossbeam-channel", &["crossbeam"]),
    ("dashmap", &[]),
    // It counts allocations where a bench asks for it, and has a lock to that end.
    ("dhat", &["kithara-bench"]),
    ("flume", &["glommio"]),
    ("lockfree", &["glommio"]),
    ("parking_lot", &["dhat", "prometheus-client"]),
    ("spin", &["crc-fast", "flume"]),
    ("tokio", &["hyper"]),
];

/// What a file that calls itself pure must not mention.
const IMPURE: &[&str] =
    &["glommio", "hyper", "std::fs", "std::net", "Instant::now", "SystemTime::now", ".await"];

struct Source {
    /// Path below `src/`, with `/` between the parts.
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines of code: comments and the unit tests at the end of the file are left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
            .take_while(|(_, line)| *line != "mod tests {")
    }

    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or("")
    }

    fn is_pure(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("//! Pure:"))
    }
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("sources are UTF-8"),
            path: path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/"),
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules a file reaches by `crate::name` or `use crate::{name, ...}`, with their lines.
fn reached(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut group = None; // Depth of braces inside `crate::{`, while the scan is in one.
    for (number, line) in source.code() {
        let mut rest = line;
        loop {
            match group {
                None => {
                    let Some(at) = rest.find("crate::") else { break };
                    rest = &rest[at + "crate::".len()..];
                    if let Some(inside) = rest.strip_prefix('{') {
                        (group, rest) = (Some(1), inside);
                    }
                    found.extend(leading_name(rest).map(|name| (number, name.to_owned())));
                }
                Some(depth) => {
                    // A line inside the group starts with a name, unless it is deeper.
                    if depth == 1 && rest.len() == line.len() {
                        found.extend(leading_name(rest).map(|name| (number, name.to_owned())));
                    }
                    let Some(at) = rest.find(['{', '}', ',']) else { break };
                    let (sign, after) = (rest.as_bytes()[at], &rest[at + 1..]);
                    group = match sign {
                        b'{' => Some(depth + 1),
                        b'}' if depth == 1 => None,
                        b'}' => Some(depth - 1),
                        _ => Some(depth),
                    };
                    if sign == b',' && depth == 1 {
                        found.extend(leading_name(after).map(|name| (number, name.to_owned())));
                    }
                    rest = after;
                }
            }
        }
    }
    found
}

fn leading_name(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

#[track_caller]
fn report(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{rule}\n  {}\n", broken.join("\n  "));
}

#[test]
fn layers_point_down() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(here) = layer(source.module()) else { continue };
        for (number, target) in reached(&source) {
            let down = layer(&target).is_none_or(|there| there < here);
            if !down && target != source.module() {
                broken.push(format!("src/{}:{number} uses {target}", source.path));
            }
        }
    }
    report("A module uses only lower layers (see LAYERS). Move the shared part down:", broken);
}

#[test]
fn every_folder_has_a_layer() {
    let broken = sources()
        .iter()
        .filter(|source| source.path.contains('/') && layer(source.module()).is_none())
        .map(|source| format!("src/{}", source.path))
        .collect();
    report("A new folder is given its place in LAYERS:", broken);
}

#[test]
fn pure_files_stay_pure() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_pure()) {
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("src/{}:{number} mentions {word}", source.path));
            }
        }
    }
    report("A pure file is given bytes and times by its caller:", broken);
}

#[test]
fn foreign_crates_are_named_only_at_their_seams() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, seams) in SEAMS {
            if seams.iter().any(|seam| source.path.starts_with(seam)) {
                continue;
            }
            for (number, _) in source.code().filter(|(_, line)| names_crate(line, name)) {
                broken.push(format!("src/{}:{number} names {name}", source.path));
            }
        }
    }
    report("A change of this crate must touch its seam only; use what SEAMS export:", broken);
}

#[test]
fn locks_come_only_with_crates_that_may_have_them() {
    let packages = packages();
    assert!(packages.iter().any(|(name, _)| name == "kithara"), "Cargo.lock is not understood");
    let mut broken = Vec::new();
    for (user, used) in &packages {
        for (lock, users) in LOCKS {
            if used.iter().any(|name| name == lock) && !users.contains(&user.as_str()) {
                broken.push(format!("Cargo.lock: {user} uses {lock}"));
            }
        }
    }
    report(
        "No lock crosses a core (see LOCKS); do without this crate or this feature of it:",
        broken,
    );
}

/// Every package of `Cargo.lock` with the names of those it uses, whether for the binary or for tests.
fn packages() -> Vec<(String, Vec<String>)> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).expect("Cargo.lock is readable");
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages are a list");
    let text = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
    // A version follows the name where there are several.
    let name = |value: &toml::Value| text(value).split(' ').next().unwrap_or_default().to_owned();
    let used = |package: &toml::Value| match package.get("dependencies") {
        Some(used) => used.as_array().into_iter().flatten().map(name).collect(),
        None => Vec::new(),
    };
    packages.iter().map(|package| (text(&package["name"]), used(package))).collect()
}

/// Whether a line reaches into that crate or imports from it.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let whole_word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let imported = line.trim_start().starts_with(&format!("use {name}"));
        whole_word && (line[at + name.len()..].starts_with("::") || imported)
    })
}

#[test]
fn folders_without_unsafe_forbid_it() {
    let sources = sources();
    let broken = sources
        .iter()
        .filter(|source| source.path.matches('/').count() == 1 && source.path.ends_with("/mod.rs"))
        .filter(|folder| !folder.text.contains("#![forbid(unsafe_code)]"))
        .filter(|folder| {
            let inside = |source: &&Source| source.module() == folder.module();
            !sources.iter().filter(inside).any(has_unsafe)
        })
        .map(|folder| format!("src/{}", folder.path))
        .collect();
    report("A folder without unsafe code says `#![forbid(unsafe_code)]` in its mod.rs:", broken);
}

fn has_unsafe(source: &Source) -> bool {
    let mut lines = source.text.lines().map(|line| line.split("//").next().unwrap_or(""));
    lines
        .any(|line| ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| line.contains(word)))
}

/// Folders that exist on one developer's machine and on no other.
const OWN_FOLDERS: &[&str] = &["home", "root", "Users", "work", "tmp/wt"];

#[test]
fn no_path_of_a_developers_machine() {
    let mut broken = Vec::new();
    for (path, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            for folder in OWN_FOLDERS.iter().filter(|folder| names_folder(line, folder)) {
                broken.push(format!("{path}:{} names a path in {folder}", index + 1));
            }
        }
    }
    report("The tree builds and runs wherever it lies; use a relative path:", broken);
}

/// Whether a line holds that folder of the file system's top, rather than one further down.
fn names_folder(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:".contains(c))
    })
}

/// All text that belongs to the tree, with its path below the top.
fn texts() -> Vec<(String, String)> {
    const LEFT_OUT: &[&str] = &["target", "corpus", "artifacts", ".git", "kithara-cache"];
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("the tree is readable") {
            let path = entry.expect("the tree is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match path.is_dir() {
                _ if LEFT_OUT.contains(&name.as_str()) => {}
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, &mut found);
    found
        .into_iter()
        .filter_map(|path| {
            // What is not UTF-8 is music.
            let text = fs::read_to_string(&path).ok()?;
            Some((path.strip_prefix(root).ok()?.to_string_lossy().into_owned(), text))
        })
        .collect()
}

#[test]
fn every_file_says_what_it_is() {
    let broken = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}", source.path))
        .collect();
    report("The first line of a file is `//! ` and what it is:", broken);
}

/// Not a rule: `cargo test --test tidy look -- --nocapture` shows where to look.
#[test]
fn look() {
    let mut sizes: Vec<_> =
        sources().into_iter().map(|s| (s.text.lines().count(), s.path)).collect();
    sizes.sort();
    println!("{} files, median {} lines", sizes.len(), sizes[sizes.len() / 2].0);
    for (lines, path) in sizes.iter().rev().take(5) {
        println!("{lines:6}  src/{path}");
    }
}
