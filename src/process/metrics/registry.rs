use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{TextEncoder, core::Collector};

use super::IntGaugeTable;

/// What a process tells of itself at `/metrics`. Cheap to clone; clones share.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    metrics: prometheus::Registry,
    tables: Arc<RwLock<Vec<IntGaugeTable>>>,
}

impl Registry {
    /// Tells nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells this too.
    ///
    /// # Errors
    /// When it tells one of that name already.
    pub fn register(&self, metric: impl Collector + 'static) -> prometheus::Result<()> {
        self.metrics.register(Box::new(metric))
    }

    /// Tells this table too.
    ///
    /// # Errors
    /// When it tells one of that name already.
    pub(super) fn add(&self, table: IntGaugeTable) -> prometheus::Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().any(|known| known.name() == table.name()) {
            return Err(prometheus::Error::AlreadyReg);
        }
        tables.push(table);
        Ok(())
    }

    /// All that there is to tell in the text format 0.0.4 of Prometheus, in pieces: together they may be megabytes.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn text(&self) -> prometheus::Result<impl Iterator<Item = String> + Send + use<>> {
        let first = TextEncoder::new().encode_to_string(&self.metrics.gather())?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(std::iter::once(first).chain(tables.into_iter().flat_map(|table| table.text())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        struct Some {
            /// One.
            one: prometheus::IntGauge [],
            /// Many.
            many: IntGaugeTable ["row", "group"],
        }
    }

    #[test]
    fn tables_follow_the_others_and_no_name_is_taken_twice() {
        let registry = Registry::new();
        let some = Some::register(&registry).unwrap();
        some.one.set(1);
        some.many.put(&["g"], vec![("r".into(), 2)]);
        let text: String = registry.clone().text().unwrap().collect();
        assert_eq!(
            text,
            "# HELP parley_one One.\n# TYPE parley_one gauge\nparley_one 1\n\
             # HELP parley_many Many.\n# TYPE parley_many gauge\nparley_many{group=\"g\",row=\"r\"} 2\n"
        );
        assert!(Some::register(&registry).is_err());
        assert!(registry.add(some.many).is_err());
    }
}
