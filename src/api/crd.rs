//! The custom resource definition, as the API server gets it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::ChatTopicSet;

/// The definition of `ChatTopicSet`. The derive marks optional fields nullable; here they are not, so that the API
/// server drops a null as if the field had been left out, and no rule and no reader ever meets one. A set that nobody has looked
/// at yet has an observed generation of -1: kstatus takes an object without any for one that is ready.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = ChatTopicSet::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            without_nullable(schema);
            let status = schema.properties.as_mut().and_then(|properties| properties.get_mut("status"));
            if let Some(status) = status {
                status.default = Some(JSON(json!({"observedGeneration": -1})));
            }
        }
    }
    crd
}

/// The schema alone, as JSON: what kube's offline CEL evaluates. `Null` would mean a definition without a schema.
pub fn schema() -> Value {
    serde_json::to_value(crd())
        .map(|mut crd| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
        .unwrap_or(Value::Null)
}

/// The definition as YAML, with a first line that says where it comes from.
///
/// # Errors
/// Only when the YAML library cannot write what it is given.
pub fn crd_yaml() -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(&crd())?;
    Ok(format!("# Written by `cargo run --bin crdgen` from src/api; do not edit.\n{yaml}"))
}

fn without_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flatten() {
        without_nullable(property.1);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => without_nullable(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(without_nullable),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        without_nullable(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_crd_is_the_generated_one() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/chattopicsets.yaml");
        let text = std::fs::read_to_string(committed).unwrap();
        assert!(
            text == crd_yaml().unwrap(),
            "crds/chattopicsets.yaml is stale: run `cargo run --bin crdgen > crds/chattopicsets.yaml`"
        );
    }

    /// `kubectl explain` shows the description of every field that a user can write or read.
    #[test]
    fn every_field_is_explained() {
        fn walk(path: &str, schema: &Value, missing: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let here = format!("{path}.{name}");
                if property["description"].as_str().is_none_or(str::is_empty) {
                    missing.push(here.clone());
                }
                walk(&here, property, missing);
                walk(&here, &property["items"], missing);
            }
        }
        let schema = schema();
        let mut missing = Vec::new();
        for part in ["spec", "status"] {
            assert!(schema["properties"][part]["properties"].is_object());
            walk(part, &schema["properties"][part], &mut missing);
        }
        assert!(missing.is_empty(), "no description: {missing:?}");
    }

    #[test]
    fn nothing_is_nullable() {
        assert!(!crd_yaml().unwrap().contains("nullable"));
    }
}
