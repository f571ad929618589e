use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus::{
    Opts,
    core::{Collector, Desc, Describer as _},
    proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// A gauge with a great many series that come and go by groups, such as those of all topics of a set. Its first label names the
/// row, the others the group. An `IntGaugeVec` keeps a kilobyte for each series; this keeps a pointer and a number.
#[derive(Debug, Clone)]
pub struct IntGaugeTable {
    desc: Desc,
    groups: Arc<RwLock<BTreeMap<Vec<String>, Rows>>>,
}

/// The rows of one group: the value of the first label, and that of the series.
pub type Rows = Vec<(Arc<str>, i64)>;

impl IntGaugeTable {
    pub(super) fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Opts::new(name, help).variable_labels(labels).describe()?;
        Ok(Self { desc, groups: Arc::default() })
    }

    /// Replaces all rows of a group, named by its values for the labels after the first.
    pub fn put(&self, group: &[&str], rows: Rows) {
        let group = group.iter().map(|value| (*value).to_owned()).collect();
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(group, rows);
    }

    /// Takes a group away.
    pub fn remove(&self, group: &[&str]) {
        let group: Vec<String> = group.iter().map(|value| (*value).to_owned()).collect();
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// Takes all groups away.
    pub fn reset(&self) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Collector for IntGaugeTable {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let series = groups.iter().flat_map(|(group, rows)| {
            rows.iter().map(|(row, value)| {
                let values = std::iter::once(&**row).chain(group.iter().map(String::as_str));
                series(self.desc.variable_labels.iter().zip(values), *value)
            })
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(series.collect());
        vec![family]
    }
}

fn series<'a>(labels: impl Iterator<Item = (&'a String, &'a str)>, value: i64) -> Metric {
    let mut pairs: Vec<LabelPair> = labels
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.to_owned());
            pair
        })
        .collect();
    // As all other metrics have them.
    pairs.sort();
    let mut metric = Metric::from_label(pairs);
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    metric.set_gauge(gauge);
    metric
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    #[test]
    fn rows_are_replaced_and_go_with_their_group() {
        let registry = Registry::new();
        let table = IntGaugeTable::new("t", "Help.", &["topic", "set", "kind"]).unwrap();
        registry.register(Box::new(table.clone())).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text(), "");
        table.put(&["one", "wanted"], vec![("gone".into(), 9)]);
        table.put(&["one", "wanted"], vec![("a".into(), 1), ("b\"".into(), -2)]);
        table.put(&["two", "wanted"], vec![("a".into(), 3)]);
        assert_eq!(
            text(),
            "# HELP t Help.\n# TYPE t gauge\n\
             t{kind=\"wanted\",set=\"one\",topic=\"a\"} 1\n\
             t{kind=\"wanted\",set=\"one\",topic=\"b\\\"\"} -2\n\
             t{kind=\"wanted\",set=\"two\",topic=\"a\"} 3\n"
        );
        table.remove(&["one", "wanted"]);
        assert!(!text().contains("one") && text().contains("two"), "{}", text());
        table.reset();
        assert_eq!(text(), "");
    }
}
