//! What decoded samples depend on besides their source: part of every ETag.
//!
//! A new version of a decoder, another feature of it or another set of instructions may round
//! otherwise, so PCM cached by a client under an older one must not be continued.

use std::sync::OnceLock;

/// Our own code and every crate that samples pass through, as `Cargo.lock` has them. A test holds
/// the list to it.
const CRATES: &[(&str, &str)] = &[
    ("kithara", env!("CARGO_PKG_VERSION")),
    ("nanomp3", "0.2.0"),
    ("opus-pure", "0.2.2"),
    ("realfft", "3.5.1"),
    ("rubato", "5.0.1"),
    ("rustfft", "6.4.1"),
    ("rusty_mp3", "1.0.5"),
    ("symphonia", "0.6.1"),
    ("symphonia-bundle-flac", "0.6.1"),
    ("symphonia-codec-aac", "0.6.1"),
    ("symphonia-codec-adpcm", "0.6.1"),
    ("symphonia-codec-alac", "0.6.1"),
    ("symphonia-codec-pcm", "0.6.1"),
    ("symphonia-codec-vorbis", "0.6.1"),
    ("symphonia-common", "0.6.1"),
    ("symphonia-core", "0.6.1"),
    ("symphonia-format-mkv", "0.6.1"),
    ("symphonia-format-ogg", "0.6.1"),
    ("symphonia-format-riff", "0.6.1"),
    ("symphonia-metadata", "0.6.1"),
    ("syom", "0.9.0"),
    ("wide", "1.7.1"),
];

/// Features that choose how they compute, as `Cargo.toml` has them.
const FEATURES: &[(&str, &str)] = &[("nanomp3", "wide"), ("symphonia", "opt-simd")];

/// Raised where samples come out otherwise though no crate has moved: 10, since of MP3s that were put
/// behind each other, with tags in between, none is left out.
const REVISION: u32 = 10;

/// All of it as one text, the same for as long as the process lives.
pub fn identity() -> &'static str {
    static IDENTITY: OnceLock<String> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let crates = CRATES.iter().map(|(name, version)| format!("{name}-{version}"));
        let features = FEATURES.iter().map(|(name, feature)| format!("{name}+{feature}"));
        let own = [format!("samples-{REVISION}"), instructions().to_owned()];
        let all: Vec<_> = crates.chain(features).chain(own).collect();
        all.join(" ")
    })
}

/// The instructions that the Fourier transforms (`rustfft`), Opus and HE-AAC choose at start, and those
/// that everything else was compiled for.
fn instructions() -> &'static str {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_avx = is_x86_feature_detected!("avx");
    let chosen = [
        ("avx512f", has_avx2 && is_x86_feature_detected!("avx512f")),
        ("avx2+fma", has_avx2),
        ("avx+fma", has_avx && is_x86_feature_detected!("fma")),
        ("avx", has_avx),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
    ];
    let compiled = cfg!(target_feature = "avx");
    match (chosen.iter().find(|(_, is_there)| *is_there), compiled) {
        (Some(("avx512f", _)), true) => "avx512f compiled-avx",
        (Some(("avx2+fma", _)), true) => "avx2+fma compiled-avx",
        (Some(("avx+fma", _)), true) => "avx+fma compiled-avx",
        (Some(("avx", _)), true) => "avx compiled-avx",
        (Some((name, _)), _) => name,
        (None, _) => "sse2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Name and version of every package in the lock file.
    fn locked() -> Vec<(String, String)> {
        let lock: toml::Table = manifest("Cargo.lock").parse().unwrap();
        let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
        let packages = lock["package"].as_array().unwrap();
        packages.iter().map(|package| (text(package, "name"), text(package, "version"))).collect()
    }

    #[test]
    fn every_crate_that_makes_samples_is_named_in_its_version() {
        let locked = locked();
        for (name, version) in CRATES {
            let found: Vec<_> = locked.iter().filter(|(locked, _)| locked == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(
                found[0].1, *version,
                "{name} moved: so must its entry, and with it all ETags"
            );
        }
        for (name, _) in locked.iter().filter(|(name, _)| name.starts_with("symphonia")) {
            assert!(CRATES.iter().any(|(known, _)| known == name), "{name} is not named");
        }
    }

    #[test]
    fn the_features_are_those_of_the_manifest() {
        let manifest: toml::Table = manifest("Cargo.toml").parse().unwrap();
        for (name, feature) in FEATURES {
            let features = manifest["dependencies"][*name]["features"].as_array().unwrap();
            assert!(features.iter().any(|known| known.as_str() == Some(feature)), "{name}");
        }
    }

    #[test]
    fn the_text_names_versions_and_instructions() {
        let text = identity();
        assert!(
            text.contains("symphonia-codec-aac-0.6.1") && text.contains("opus-pure-"),
            "{text}"
        );
        assert!(text.ends_with(instructions()), "{text}");
    }
}
