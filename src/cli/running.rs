//! A running node as a command reaches it: by the URL of its admin listener.

use url::Url;

use super::{ExitCode, Failure};
use crate::net::{self, Origin};

/// The node at `url`, and the roots that its certificate is judged by.
///
/// # Errors
/// A URL that no node can have.
pub(super) fn running_node(url: &Url) -> Result<(Origin, net::Roots), Failure> {
    let node = Origin::new("node", url.clone());
    let mut node =
        node.map_err(|error| Failure::new(ExitCode::Usage, error.to_string()).at(url.as_str()))?;
    // Who types an address means it, whatever it is.
    node.allow_private = ["0.0.0.0/0", "::/0"].map(|all| all.parse().expect("a network")).into();
    let roots = match url.scheme() {
        "https" => net::Roots::load(),
        _ => net::Roots::only([]).expect("nothing is readable"),
    };
    Ok((node, roots))
}
