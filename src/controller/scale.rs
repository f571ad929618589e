//! Writing a replica count: server-side apply on `/scale`, and whose count it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

/// Why a count was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScaleError {
    /// Somebody else owns the count.
    #[error("{0}")]
    Contended(String),
    /// The target is gone.
    #[error("not found")]
    NotFound,
    /// The target has changed since it was read.
    #[error("changed meanwhile")]
    Changed,
    /// Another process leads now.
    #[error("no longer the leader")]
    NotLeading,
    /// The API server refused or did not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Reads a target in full, with its managedFields.
pub(crate) async fn read(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
) -> Result<DynamicObject, ScaleError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    api.get_opt(name).await?.ok_or(ScaleError::NotFound)
}

/// Applies the count as `manager`; by `force` it is taken from whoever owns it.
pub(crate) async fn apply(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
    replicas: i32,
    manager: &str,
    force: bool,
) -> Result<(), ScaleError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let scale = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicas": replicas},
    });
    let params = PatchParams { force, ..PatchParams::apply(manager) };
    match api.patch_subresource("scale", name, &params, &Patch::Apply(&scale)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Err(ScaleError::Contended(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Err(ScaleError::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// Whether the API server cannot apply at all here: for the `/scale` of custom resources it ends with an internal error,
/// for it takes the Scale for a version of the resource (Kubernetes 1.34).
pub(crate) fn cannot_apply(error: &ScaleError) -> bool {
    matches!(error, ScaleError::Api(kube::Error::Api(status))
        if status.code == 500 && status.message.contains("invalid group/version: autoscaling/"))
}

/// Where the count cannot be applied: writes it on the very version of the target that was read, so that nobody can have
/// become its owner since. The entry in `managedFields` bears our name all the same.
pub(crate) async fn update(
    client: &Client,
    resource: &ApiResource,
    read: &DynamicObject,
    replicas: i32,
    manager: &str,
) -> Result<(), ScaleError> {
    let (namespace, name) = (read.namespace().unwrap_or_default(), read.name_any());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    let scale = json!({
        "metadata": {"resourceVersion": read.metadata.resource_version},
        "spec": {"replicas": replicas},
    });
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    match api.patch_subresource("scale", &name, &params, &Patch::Merge(&scale)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(ScaleError::NotFound),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(ScaleError::Changed),
        Err(error) => Err(error.into()),
    }
}

/// Under this name the API server itself enters what it finds at the first apply and nobody owns: here the defaulted count
/// of a target that was applied without one. Nobody's, but in the way of an apply without force.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whose a target's count is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody else's.
    Free,
    /// An entry stands that is nobody's any more: the API server's own, or one that is older than our taking of the count
    /// by a person's token. Equal values are shared, so taking the count did not clear it; it takes force to write.
    Superseded,
    /// Somebody else's: who.
    Foreign(String),
}

/// Who owns `spec.replicas`: another manager that applied it, one that wrote it through `/scale` (an HPA, `kubectl
/// scale`), or whoever applied a manifest that names it. A plain update is only the client that created the object and
/// got the default count without having named it.
pub(crate) fn standing(metadata: &ObjectMeta, me: &str, taken_by_token: bool) -> Standing {
    let owners: Vec<&ManagedFieldsEntry> =
        metadata.managed_fields.iter().flatten().filter(|entry| owns_replicas(entry)).collect();
    let ours = owners
        .iter()
        .find(|entry| entry.manager.as_deref() == Some(me))
        .and_then(|entry| entry.time.as_ref());
    let mut superseded = false;
    for entry in owners {
        let manager = entry.manager.as_deref().unwrap_or("unknown");
        let through_scale = entry.subresource.as_deref() == Some("scale");
        let applied = entry.operation.as_deref() == Some("Apply");
        if manager == me || !(applied || through_scale) {
            continue;
        }
        if manager == BEFORE_FIRST_APPLY {
            superseded = true;
            continue;
        }
        let older = entry.time.as_ref().zip(ours).is_some_and(|(theirs, ours)| theirs.0 < ours.0);
        if !(taken_by_token && older) {
            return Standing::Foreign(manager.to_owned());
        }
        superseded = true;
    }
    if names_replicas(metadata) && !taken_by_token {
        return Standing::Foreign("kubectl apply (its last-applied annotation names replicas)".to_owned());
    }
    if superseded { Standing::Superseded } else { Standing::Free }
}

/// Whether a manifest that was applied client-side names the count.
fn names_replicas(metadata: &ObjectMeta) -> bool {
    let applied = metadata.annotations.as_ref().and_then(|annotations| annotations.get(LAST_APPLIED));
    let applied: Option<Value> = applied.and_then(|text| serde_json::from_str(text).ok());
    applied.is_some_and(|applied| !applied["spec"]["replicas"].is_null())
}

fn owns_replicas(entry: &ManagedFieldsEntry) -> bool {
    entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: Value, annotation: Option<&str>) -> ObjectMeta {
        let mut value = json!({"managedFields": entries});
        if let Some(text) = annotation {
            value["annotations"] = json!({ LAST_APPLIED: text });
        }
        serde_json::from_value(value).unwrap()
    }

    fn entry(manager: &str, operation: &str, subresource: Option<&str>, replicas: bool) -> Value {
        let fields = if replicas {
            json!({"f:spec": {"f:replicas": {}}})
        } else {
            json!({"f:spec": {"f:paused": {}}})
        };
        let mut entry = json!({"manager": manager, "operation": operation, "fieldsV1": fields});
        if let Some(subresource) = subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    }

    #[test]
    fn owners() {
        let me = "parley-scale/ns/release";
        for (entries, annotation, owner) in [
            (json!([]), None, None),
            (json!([entry(me, "Apply", Some("scale"), true)]), None, None),
            // The client that created it owns the default without having named it.
            (json!([entry("helm", "Update", None, true)]), None, None),
            (json!([entry("kubectl-client-side-apply", "Update", None, true)]), None, None),
            // An HPA, kubectl scale, another applier.
            (
                json!([entry("kube-controller-manager", "Update", Some("scale"), true)]),
                None,
                Some("kube-controller-manager"),
            ),
            (json!([entry("kubectl", "Update", Some("scale"), true)]), None, Some("kubectl")),
            (json!([entry("argocd", "Apply", None, true)]), None, Some("argocd")),
            (json!([entry("argocd", "Apply", None, false)]), None, None),
            // Ours and another's, sharing one value.
            (
                json!([entry(me, "Apply", Some("scale"), true), entry("flux", "Apply", None, true)]),
                None,
                Some("flux"),
            ),
            // A manifest that names replicas, though its entry is a plain update.
            (
                json!([entry("kubectl-client-side-apply", "Update", None, true)]),
                Some(r#"{"spec":{"replicas":3}}"#),
                Some("kubectl apply (its last-applied annotation names replicas)"),
            ),
            (json!([]), Some(r#"{"spec":{}}"#), None),
            (json!([]), Some(r#"{"spec":{"replicas":null}}"#), None),
            (json!([]), Some("not json"), None),
        ] {
            let expected = owner.map_or(Standing::Free, |owner: &str| Standing::Foreign(owner.to_owned()));
            assert_eq!(standing(&metadata(entries.clone(), annotation), me, false), expected, "{entries}");
        }
    }

    /// Regression: a target applied server-side without a count, first written with the very count that it had, was never
    /// written again.
    #[test]
    fn what_was_there_before_the_first_apply_is_nobodys() {
        let me = "parley-scale/ns/release";
        let ours = entry(me, "Apply", Some("scale"), true);
        let before = entry(BEFORE_FIRST_APPLY, "Update", Some("scale"), true);
        let both = metadata(json!([ours, before]), None);
        assert_eq!(standing(&both, me, false), Standing::Superseded);
        let hpa = entry("kube-controller-manager", "Update", Some("scale"), true);
        let all = metadata(json!([ours, before, hpa]), None);
        assert_eq!(standing(&all, me, false), Standing::Foreign("kube-controller-manager".to_owned()));
    }

    /// A count taken by a token is ours until somebody writes it after that.
    #[test]
    fn a_token_outranks_what_was_there_before() {
        let me = "parley-scale/ns/release";
        let at = |mut entry: Value, second: u32| {
            entry["time"] = json!(format!("2026-01-01T00:00:{second:02}Z"));
            entry
        };
        let hpa = |second| at(entry("kube-controller-manager", "Update", Some("scale"), true), second);
        let ours = at(entry(me, "Apply", Some("scale"), true), 10);
        let both = |hpa: Value| metadata(json!([ours, hpa]), None);
        assert_eq!(standing(&both(hpa(5)), me, true), Standing::Superseded);
        assert_eq!(
            standing(&both(hpa(5)), me, false),
            Standing::Foreign("kube-controller-manager".to_owned())
        );
        assert_eq!(
            standing(&both(hpa(15)), me, true),
            Standing::Foreign("kube-controller-manager".to_owned())
        );
    }
}
