//! Metrics of one name, and how they are read out of a report.
//!
//! Pure: no I/O, no clock, no executor.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::shard::Report;

/// Metrics of one name.
pub(super) struct Family {
    /// Without prefix, and without the `_total` of a counter.
    name: &'static str,
    /// What it counts.
    help: &'static str,
    kind: MetricType,
    read: fn(&Report) -> Samples,
}

/// What only grows, until the node starts again.
pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    read: fn(&Report) -> Samples,
) -> Family {
    Family { name, help, kind: MetricType::Counter, read }
}

/// What there is now.
pub(super) const fn gauge(
    name: &'static str,
    help: &'static str,
    read: fn(&Report) -> Samples,
) -> Family {
    Family { name, help, kind: MetricType::Gauge, read }
}

/// What a shard has of a family.
pub(super) struct Samples {
    /// What tells them apart, besides the shard.
    label: Option<&'static str>,
    values: Vec<(&'static str, Value)>,
}

/// The only one.
pub(super) fn one(value: impl Into<Value>) -> Samples {
    Samples { label: None, values: vec![("", value.into())] }
}

/// One for each value of a label.
pub(super) fn by<V: Into<Value>>(
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, V)>,
) -> Samples {
    let values = values.into_iter().map(|(name, value)| (name, value.into())).collect();
    Samples { label: Some(label), values }
}

/// What was counted or measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Count(u64),
    Measure(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Measure(measure)
    }
}

/// In seconds.
impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Measure(time.as_secs_f64())
    }
}

impl Family {
    /// Writes what the shards have of it.
    pub(super) fn encode<'a>(
        &self,
        reports: impl Iterator<Item = &'a Report>,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for report in reports {
            let Samples { label, values } = (self.read)(report);
            for (name, value) in values {
                let shard = ("shard", report.id.0.to_string());
                let labels: Vec<_> = [Some(shard), label.map(|label| (label, name.to_owned()))]
                    .into_iter()
                    .flatten()
                    .collect();
                self.put(value, family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn put(&self, value: Value, mut into: MetricEncoder<'_>) -> fmt::Result {
        match (self.kind, value) {
            (MetricType::Counter, Value::Count(count)) => {
                into.encode_counter::<NoLabelSet, _, f64>(&count, None)
            }
            (MetricType::Counter, Value::Measure(measure)) => {
                into.encode_counter::<NoLabelSet, _, f64>(&measure, None)
            }
            (_, Value::Count(count)) => into.encode_gauge(&count),
            (_, Value::Measure(measure)) => into.encode_gauge(&measure),
        }
    }
}
