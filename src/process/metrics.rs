//! Metrics as data: a service declares all of its own in one place with [`metrics!`](crate::metrics), where the field's name
//! is the metric's (after `parley_`) and its doc comment is the help text.

mod registry;
mod table;

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    process_collector::ProcessCollector,
};

pub use registry::Registry;
pub use table::{IntGaugeTable, Rows};

/// A kind of metric that [`metrics!`](crate::metrics) can declare.
pub trait Metric: Sized + Clone + 'static {
    /// The word for it in the exposition format.
    const TYPE: &'static str;

    /// Makes one. `buckets` are upper bounds and only histograms have them.
    ///
    /// # Errors
    /// When name, labels or buckets are not legal.
    fn build(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;

    /// From now on the registry tells it.
    ///
    /// # Errors
    /// When it tells one of that name already.
    fn enter(&self, registry: &Registry) -> prometheus::Result<()>;
}

macro_rules! metric {
    ($type:ty, $word:literal, |$name:ident, $help:ident, $labels:ident, $buckets:ident| $build:expr) => {
        impl Metric for $type {
            const TYPE: &'static str = $word;

            fn build(
                $name: &str,
                $help: &str,
                $labels: &[&str],
                $buckets: &[f64],
            ) -> prometheus::Result<Self> {
                $build
            }

            fn enter(&self, registry: &Registry) -> prometheus::Result<()> {
                registry.register(self.clone())
            }
        }
    };
}

metric!(IntCounter, "counter", |name, help, _labels, _buckets| Self::with_opts(Opts::new(name, help)));
metric!(IntCounterVec, "counter", |name, help, labels, _buckets| Self::new(Opts::new(name, help), labels));
metric!(IntGauge, "gauge", |name, help, _labels, _buckets| Self::with_opts(Opts::new(name, help)));
metric!(IntGaugeVec, "gauge", |name, help, labels, _buckets| Self::new(Opts::new(name, help), labels));
metric!(prometheus::Gauge, "gauge", |name, help, _labels, _buckets| Self::with_opts(Opts::new(name, help)));
metric!(GaugeVec, "gauge", |name, help, labels, _buckets| Self::new(Opts::new(name, help), labels));
metric!(Histogram, "histogram", |name, help, _labels, buckets| Self::with_opts(
    HistogramOpts::new(name, help).buckets(buckets.to_vec())
));
metric!(HistogramVec, "histogram", |name, help, labels, buckets| Self::new(
    HistogramOpts::new(name, help).buckets(buckets.to_vec()),
    labels
));

impl Metric for IntGaugeTable {
    const TYPE: &'static str = "gauge";

    fn build(name: &str, help: &str, labels: &[&str], _buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(name, help, labels)
    }

    fn enter(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.add(self.clone())
    }
}

/// What is known of a metric without running anything: for the reference in `docs/`.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// With its prefix.
    pub name: &'static str,
    /// The doc comment.
    pub help: &'static str,
    /// counter, gauge or histogram.
    pub kind: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
}

/// Declares a struct of metrics with `register(&Registry)` and `describe()`.
///
/// ```
/// parley::metrics! {
///     /// What the example counts.
///     pub struct Example {
///         /// Requests, by outcome.
///         requests_total: prometheus::IntCounterVec ["outcome"],
///         /// How long one takes.
///         duration_seconds: prometheus::Histogram [] = &[0.01, 0.1, 1.0],
///     }
/// }
/// let metrics = Example::register(&parley::process::metrics::Registry::new()).unwrap();
/// metrics.requests_total.with_label_values(&["ok"]).inc();
/// assert_eq!(Example::describe()[0].help, "Requests, by outcome.");
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$outer:meta])*
        $vis:vis struct $struct:ident {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty [ $($label:literal),* ] $(= $buckets:expr)? ),+ $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone)]
        $vis struct $struct {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl $struct {
            /// Makes the metrics and registers them.
            ///
            /// # Errors
            /// When one of that name is registered already.
            $vis fn register(registry: &$crate::process::metrics::Registry) -> prometheus::Result<Self> {
                use $crate::process::metrics::Metric;
                $(
                    let $field = {
                        #[allow(unused_mut, unused_assignments, clippy::allow_attributes, reason = "only histograms have buckets")]
                        let mut buckets: &[f64] = &[];
                        $( buckets = $buckets; )?
                        let help = concat!($($doc),+).trim();
                        let name = concat!("parley_", stringify!($field));
                        let metric = <$type as Metric>::build(name, help, &[$($label),*], buckets)?;
                        metric.enter(registry)?;
                        metric
                    };
                )+
                Ok(Self { $($field),+ })
            }

            /// Names, help texts, types and labels, in the order of declaration.
            #[allow(dead_code, clippy::allow_attributes, reason = "only the reference in docs asks for it")]
            $vis fn describe() -> Vec<$crate::process::metrics::Description> {
                use $crate::process::metrics::Metric;
                vec![$(
                    $crate::process::metrics::Description {
                        name: concat!("parley_", stringify!($field)),
                        help: concat!($($doc),+).trim(),
                        kind: <$type as Metric>::TYPE,
                        labels: &[$($label),*],
                    }
                ),+]
            }
        }
    };
}

/// `parley_build_info` and the standard `process_*` metrics.
pub(super) fn register_process(registry: &Registry) -> prometheus::Result<()> {
    let opts = Opts::new("parley_build_info", "Always 1; version and commit are its labels.");
    let info = IntGaugeVec::new(opts, &["version", "commit"])?;
    info.with_label_values(&[super::VERSION, super::COMMIT]).set(1);
    registry.register(info)?;
    registry.register(ProcessCollector::for_self())
}
