use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus::{Opts, core::Describer as _};

/// A gauge with a great many series that come and go by groups, such as those of all topics of a set. Its first label names the
/// row, the others the group. An `IntGaugeVec` keeps a kilobyte for each series, and takes as much again while it is asked; this keeps
/// a pointer and a number, and writes a group at a time.
#[derive(Debug, Clone)]
pub struct IntGaugeTable {
    about: Arc<About>,
    groups: Arc<RwLock<BTreeMap<Vec<String>, Rows>>>,
}

#[derive(Debug)]
struct About {
    name: String,
    help: String,
    labels: Vec<String>,
}

/// The rows of one group: the value of the first label, and that of the series.
pub type Rows = Vec<(Arc<str>, i64)>;

impl IntGaugeTable {
    pub(super) fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        // Looks at the names.
        Opts::new(name, help).variable_labels(labels.clone()).describe()?;
        let about = About { name: name.to_owned(), help: help.to_owned(), labels };
        Ok(Self { about: Arc::new(about), groups: Arc::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.about.name
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

    /// All series in the text format 0.0.4 of Prometheus, a group at a time, as each is when it is asked for. Nothing when there are none.
    pub(super) fn text(&self) -> impl Iterator<Item = String> + Send + use<> {
        let groups: Vec<Vec<String>> =
            self.groups.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let About { name, help, .. } = &*self.about;
        let mut head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        let table = self.clone();
        let lines = groups.into_iter().filter_map(move |group| table.lines(&group));
        lines.map(move |lines| std::mem::take(&mut head) + &lines)
    }

    /// The series of a group, if there are any.
    fn lines(&self, group: &[String]) -> Option<String> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let rows = groups.get(group).filter(|rows| !rows.is_empty())?;
        let About { name, labels, .. } = &*self.about;
        let (first, others) = labels.split_first()?;
        // By their names, as all other metrics have them: some stand before the first one, whose value is each row's own.
        let mut pairs: Vec<(&String, &String)> = others.iter().zip(group).collect();
        pairs.sort();
        let (mut before, mut after) = (String::new(), String::new());
        for (label, value) in pairs {
            let value = escaped(value);
            if label < first {
                before.extend([label, "=\"", &*value, "\","]);
            } else {
                after.extend([",", label, "=\"", &*value, "\""]);
            }
        }
        let mut lines = String::with_capacity(rows.len() * (before.len() + after.len() + 96));
        for (row, value) in rows {
            // Into a string, which does not fail.
            let _ = writeln!(lines, "{name}{{{before}{first}=\"{}\"{after}}} {value}", escaped(row));
        }
        Some(lines)
    }
}

/// A label's value as it stands between quotation marks.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_replaced_and_go_with_their_group() {
        let table = IntGaugeTable::new("t", "Help.", &["topic", "set", "kind"]).unwrap();
        let text = || table.text().collect::<String>();
        assert_eq!(text(), "");
        table.put(&["one", "wanted"], vec![("gone".into(), 9)]);
        table.put(&["one", "wanted"], vec![("a".into(), 1), ("b\"\\\n".into(), -2)]);
        table.put(&["none", "wanted"], vec![]);
        table.put(&["two", "wanted"], vec![("a".into(), 3)]);
        assert_eq!(
            text(),
            "# HELP t Help.\n# TYPE t gauge\n\
             t{kind=\"wanted\",set=\"one\",topic=\"a\"} 1\n\
             t{kind=\"wanted\",set=\"one\",topic=\"b\\\"\\\\\\n\"} -2\n\
             t{kind=\"wanted\",set=\"two\",topic=\"a\"} 3\n"
        );
        assert_eq!(table.text().count(), 2, "a group at a time");
        table.remove(&["one", "wanted"]);
        assert!(!text().contains("one") && text().contains("two"), "{}", text());
        table.reset();
        assert_eq!(text(), "");
    }

    /// As Prometheus's own library writes them.
    #[test]
    fn labels_stand_in_the_order_of_their_names() {
        let table = IntGaugeTable::new("t", "Help.", &["b", "c", "a"]).unwrap();
        table.put(&["C", "A"], vec![("B".into(), 7)]);
        let vec = prometheus::IntGaugeVec::new(Opts::new("t", "Help."), &["b", "c", "a"]).unwrap();
        vec.with_label_values(&["B", "C", "A"]).set(7);
        let registry = prometheus::Registry::new();
        registry.register(Box::new(vec)).unwrap();
        let theirs = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(table.text().collect::<String>(), theirs);
        assert!(IntGaugeTable::new("no name", "Help.", &["b"]).is_err());
    }
}
