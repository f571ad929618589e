//! The structural part of the schema, checked offline as the API server does it: types, bounds, enums, unknown fields,
//! duplicates in keyed lists. The rules (CEL) are checked beside it.

use std::collections::BTreeSet;

use serde_json::Value;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::controller) struct Finding {
    pub(in crate::controller) path: String,
    pub(in crate::controller) message: String,
}

/// Checks a value against its schema.
pub(super) fn check(value: &Value, schema: &Value, path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    walk(value, schema, path, &mut findings);
    findings
}

fn walk(value: &Value, schema: &Value, path: &str, out: &mut Vec<Finding>) {
    let mut say = |message: String| out.push(Finding { path: path.to_owned(), message });
    if let Some(wanted) = schema["type"].as_str()
        && !is_type(value, wanted)
    {
        say(format!("must be of type {wanted}, not {}", type_of(value)));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        say(format!("must be one of {}", words.join(", ")));
    }
    match value {
        Value::Number(number) => {
            let bound = |key: &str| schema[key].as_f64().zip(number.as_f64());
            if let Some((min, _)) = bound("minimum").filter(|(min, n)| n < min) {
                say(format!("must be at least {min}"));
            }
            if let Some((max, _)) = bound("maximum").filter(|(max, n)| n > max) {
                say(format!("must be at most {max}"));
            }
        }
        Value::String(text) => length(text.chars().count(), schema, "Length", "characters", &mut say),
        Value::Array(items) => {
            length(items.len(), schema, "Items", "items", &mut say);
            duplicates(items, schema, path, out);
            for (index, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &format!("{path}[{index}]"), out);
            }
        }
        Value::Object(fields) => {
            length(fields.len(), schema, "Properties", "entries", &mut say);
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if fields.get(required).is_none_or(Value::is_null) {
                    say(format!("{required} is missing"));
                }
            }
            for (name, field) in fields {
                // A null is dropped by the API server as if the field had been left out.
                if field.is_null() {
                    continue;
                }
                let here = format!("{path}.{name}");
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) if schema["properties"].is_object() => {
                        out.push(Finding { path: here, message: "there is no such field".to_owned() });
                    }
                    (Value::Null, other) => walk(field, other, &here, out),
                    (property, _) => walk(field, property, &here, out),
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn length(length: usize, schema: &Value, what: &str, unit: &str, say: &mut impl FnMut(String)) {
    let bound = |end: &str| schema[format!("{end}{what}")].as_u64().and_then(|n| usize::try_from(n).ok());
    if let Some(min) = bound("min").filter(|min| length < *min) {
        say(format!("must have at least {min} {unit}"));
    }
    if let Some(max) = bound("max").filter(|max| length > *max) {
        say(format!("must have at most {max} {unit}"));
    }
}

fn duplicates(items: &[Value], schema: &Value, path: &str, out: &mut Vec<Finding>) {
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if keys.is_empty() && schema["x-kubernetes-list-type"] != "set" {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = if keys.is_empty() {
            item.to_string()
        } else {
            keys.iter().map(|key| item[*key].to_string()).collect::<Vec<_>>().join(", ")
        };
        if !seen.insert(identity.clone()) {
            out.push(Finding {
                path: format!("{path}[{index}]"),
                message: format!("{identity} stands here twice"),
            });
        }
    }
}

fn is_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64(),
        other => type_of(value) == other,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
