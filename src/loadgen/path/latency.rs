use hdrhistogram::Histogram;

/// A distribution in milliseconds.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Values in it.
    pub count: u64,
    /// Half of all.
    pub p50: f64,
    /// 9 of 10.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The worst.
    pub max: f64,
    /// Percentage, and the value that so many are not above: for a picture.
    pub curve: Vec<(f64, f64)>,
}

/// Where the curve is looked at.
const PERCENTAGES: [f64; 16] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100.0];

/// Microseconds up to ten minutes with three significant digits.
pub(super) fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants and legal")]
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("legal bounds")
}

impl From<&Histogram<u64>> for Latency {
    fn from(micros: &Histogram<u64>) -> Self {
        let at = |percent: f64| (micros.value_at_percentile(percent) as f64 / 10.0).round() / 100.0;
        Self {
            count: micros.len(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: at(100.0),
            curve: PERCENTAGES.iter().map(|percent| (*percent, at(*percent))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_become_milliseconds() {
        let mut micros = histogram();
        (1..=1_000).for_each(|n| micros.saturating_record(n * 1_000));
        let latency = Latency::from(&micros);
        assert_eq!((latency.count, latency.curve.len()), (1_000, PERCENTAGES.len()));
        assert!((latency.p50 - 500.0).abs() < 1.0 && (latency.p99 - 990.0).abs() < 1.0, "{latency:?}");
        assert!((latency.max - 1_000.0).abs() < 1.0 && latency.curve[3].1 == latency.p50, "{latency:?}");
    }
}
