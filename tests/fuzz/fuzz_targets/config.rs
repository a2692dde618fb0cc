//! Configuration files and variables of any bytes: an answer each time, never a panic.
#![no_main]

use kithara::config::{File, Inputs, Merged, Show, effective};
use kithara_fuzz::fuzz_target;

fuzz_target!(|text: &str| {
    let file = Some(File { name: "fuzz.toml".to_owned(), text: text.to_owned() });
    if let Ok(merged) = Merged::new(&Inputs { file, ..Inputs::default() }) {
        let _ = merged.config.validate(2);
        // Secrets are redacted, so a second reading may differ there; it must still be TOML.
        let shown = effective(&merged, Show::All);
        let file = Some(File { name: "shown.toml".to_owned(), text: shown });
        Merged::new(&Inputs { file, ..Inputs::default() }).expect("what is shown reads back");
    }
    // The first line is a variable's name, the rest its value.
    if let Some((name, value)) = text.split_once('\n') {
        let environment = vec![(format!("KITHARA_{name}"), value.to_owned())];
        let _ = Merged::new(&Inputs { environment, ..Inputs::default() });
    }
});
