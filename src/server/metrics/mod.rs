//! What the shards have done, as the text that Prometheus reads.
//!
//! Each shard counts in plain numbers of its own ([`Report`]), and a scrape asks all of them as
//! `/v1/shards` does: nothing is shared while nobody looks. Here a report becomes numbers with names: the
//! prefix `kithara_`, base units, `_total` behind what only grows, and the label `shard`.
//!
//! - `family`: what has one name, and how it is read out of a report;
//! - `serving`: what clients get, and what is decoded and encoded for them;
//! - `cache`: what is kept, on disk and in memory;
//! - `machine`: memory and time of the core.
//!
//! Pure: no I/O, no clock, no executor.

mod cache;
mod family;
mod machine;
mod serving;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    metrics::MetricType,
    registry::Registry,
};

use self::family::Family;
use crate::{encode::Codec, shard::Report};

/// `Content-Type` of the text.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

const FAMILIES: [&[Family]; 3] = [serving::FAMILIES, cache::FAMILIES, machine::FAMILIES];

/// The text about all shards, by their number; of one that did not answer there is only that.
pub(super) fn text(reports: Vec<Option<Report>>) -> String {
    let mut registry = Registry::with_prefix("kithara");
    registry.register_collector(Box::new(Scrape { reports }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes any text");
    text
}

/// What one scrape found.
#[derive(Debug)]
struct Scrape {
    reports: Vec<Option<Report>>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        build(&mut encoder)?;
        self.up(&mut encoder)?;
        for family in FAMILIES.into_iter().flatten() {
            family.encode(self.reports.iter().flatten(), &mut encoder)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn up(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Whether the shard answered within a second; of one that did not nothing else is here.";
        let mut family = encoder.encode_descriptor("shard_up", help, None, MetricType::Gauge)?;
        for (shard, report) in self.reports.iter().enumerate() {
            let labels = [("shard", shard.to_string())];
            family.encode_family(&labels)?.encode_gauge(&u64::from(report.is_some()))?;
        }
        Ok(())
    }
}

/// The one family that is of the node.
fn build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Always 1; the labels say which build it is.";
    let formats: Vec<_> =
        Codec::ALL.into_iter().filter(|codec| codec.is_built()).map(Codec::name).collect();
    let labels =
        [("version", env!("CARGO_PKG_VERSION").to_owned()), ("formats", formats.join(","))];
    encoder.encode_descriptor("build", help, None, MetricType::Info)?.encode_info(&labels)
}
