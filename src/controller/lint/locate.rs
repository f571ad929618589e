//! Which line of a YAML document a field stands on. The parser keeps no positions; this reads the block structure by its
//! indentation, and a field inside a flow collection (`{a: 1}`) is found at the line where the collection begins.

use std::collections::BTreeMap;

/// Lines of a document by path (`spec.topics[3].config`), counted from 1.
#[derive(Debug)]
pub(super) struct Lines(BTreeMap<String, usize>);

struct Frame {
    indent: usize,
    is_item: bool,
    path: String,
    items: usize,
}

impl Lines {
    /// Reads the structure of one document.
    pub(super) fn of(document: &str) -> Self {
        let mut lines = BTreeMap::new();
        let mut stack = vec![Frame { indent: 0, is_item: false, path: String::new(), items: 0 }];
        for (number, line) in document.lines().enumerate() {
            let mut content = line.trim_start();
            let mut indent = line.len() - content.len();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            while content == "-" || content.starts_with("- ") {
                while stack.len() > 1
                    && stack.last().is_some_and(|f| f.indent > indent || (f.indent == indent && f.is_item))
                {
                    stack.pop();
                }
                let Some(parent) = stack.last_mut() else { break };
                let path = format!("{}[{}]", parent.path, parent.items);
                parent.items += 1;
                lines.entry(path.clone()).or_insert(number + 1);
                stack.push(Frame { indent, is_item: true, path, items: 0 });
                let rest = content[1..].trim_start();
                indent += content.len() - rest.len();
                content = rest;
            }
            let Some(key) = key_of(content) else { continue };
            while stack.len() > 1 && stack.last().is_some_and(|f| f.indent >= indent) {
                stack.pop();
            }
            let parent = stack.last().map_or("", |f| f.path.as_str());
            let path = if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") };
            lines.entry(path.clone()).or_insert(number + 1);
            stack.push(Frame { indent, is_item: false, path, items: 0 });
        }
        Self(lines)
    }

    /// The line of the field, or of the nearest one around it.
    pub(super) fn find(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return 1,
            }
        }
    }
}

/// The key of `key: value`, unless the line is something else.
fn key_of(content: &str) -> Option<&str> {
    if content.starts_with(['{', '[', '"', '\'', '|', '>', '&', '*', '!']) {
        return None;
    }
    let (key, rest) = content.split_once(':')?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(key.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
apiVersion: x
spec:
  defaults:
    partitions: 2   # two
  topics:
    - name: a

    - name: b
      config: {x: 1, y: 2}
    -
      name: c
      config:
        k.e.y: 1
  workers:
  - name: w
    topics: [a, b]
  - {name: v}
";

    #[test]
    fn fields_are_found() {
        let lines = Lines::of(TEXT);
        for (path, line) in [
            ("apiVersion", 2),
            ("spec", 3),
            ("spec.defaults.partitions", 5),
            ("spec.topics", 6),
            ("spec.topics[0].name", 7),
            ("spec.topics[1]", 9),
            ("spec.topics[1].config.y", 10),
            ("spec.topics[2].name", 12),
            ("spec.workers[0].topics[1]", 17),
            ("spec.workers[1].name", 18),
            ("spec.workers[1].nowhere.deep", 18),
            ("nothing", 1),
        ] {
            assert_eq!(lines.find(path), line, "{path}");
        }
    }
}
