//! The writers and holders of an object, by `metadata.managedFields` and by its finalizers.

use serde_json::Value;

use crate::model::text::Text;

/// The manager of the fields that the prober itself writes: its user agent, without the version.
const OWN: &str = "vso-prober";

/// Who changed an object last, if that is somebody who wrote none of its data and another did.
pub fn toucher(object: &Value) -> Option<Text> {
    let owns_data = |entry: &&Value| owns(entry, "/f:data");
    let written = entries(object).filter(owns_data).filter_map(time).max()?;
    let others = entries(object).filter(|entry| !owns_data(entry));
    let latest = others.filter(|entry| time(entry) >= Some(written));
    manager(latest.max_by_key(|entry| time(entry))?)
}

/// Who wrote the data of an object last, if that is neither who owns its reference to its owner, nor the prober.
pub fn writer(object: &Value) -> Option<Text> {
    let owner = |entry: &&Value| owns(entry, "/f:metadata/f:ownerReferences");
    let owned = entries(object).filter(owner).filter_map(time).max();
    let others = entries(object).filter(|entry| owns(entry, "/f:data") && !owner(entry));
    let others = others.filter(|entry| entry.get("manager").is_none_or(|name| name != OWN));
    let latest = others.max_by_key(|entry| time(entry))?;
    (time(latest) >= owned).then(|| manager(latest))?
}

/// The finalizers of an object that is being deleted, as far as they are not `own` and not the cluster's.
pub fn holders(object: &Value, own: impl Fn(&str) -> bool) -> Vec<String> {
    let metadata = object.get("metadata");
    let deleting = metadata.and_then(|metadata| metadata.get("deletionTimestamp"));
    let finalizers = metadata.and_then(|metadata| metadata.get("finalizers")?.as_array());
    let finalizers = finalizers.filter(|_| deleting.is_some());
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    let others = finalizers.filter(|name| !own(name) && !CLUSTERS.contains(name));
    others.map(str::to_owned).collect()
}

/// The finalizers by which the cluster itself collects what an object owns.
const CLUSTERS: [&str; 2] = ["foregroundDeletion", "orphan"];

fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    let fields = object.pointer("/metadata/managedFields");
    fields.and_then(Value::as_array).into_iter().flatten()
}

fn owns(entry: &Value, fields: &str) -> bool {
    entry.pointer(&format!("/fieldsV1{fields}")).is_some()
}

fn time(entry: &Value) -> Option<&str> {
    entry.get("time").and_then(Value::as_str)
}

fn manager(entry: &Value) -> Option<Text> {
    Some(entry.get("manager")?.as_str()?.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(fields: &[Value]) -> Value {
        json!({"metadata": {"managedFields": fields}})
    }

    fn entry(manager: &str, time: &str, fields: &Value) -> Value {
        json!({"manager": manager, "time": time, "fieldsV1": fields})
    }

    fn operator(time: &str) -> Value {
        let fields =
            json!({"f:data": {"f:nonce": {}}, "f:metadata": {"f:ownerReferences": {".": {}}}});
        entry("manager", time, &fields)
    }

    #[test]
    fn who_touched_an_object_is_told_from_who_wrote_it() {
        let other = |time| {
            let fields = json!({"f:metadata": {"f:annotations": {"f:a": {}}}});
            entry("kubectl-annotate", time, &fields)
        };
        let check = |fields: &[Value], expected: Option<&str>| {
            assert_eq!(toucher(&object(fields)).as_deref(), expected, "{fields:?}");
        };
        check(&[], None);
        check(&[operator("1")], None);
        check(&[operator("1"), other("2")], Some("kubectl-annotate"));
        check(&[operator("3"), other("2")], None);
    }

    #[test]
    fn who_wrote_the_data_last_is_told_from_whose_it_is() {
        let other = |name, time| entry(name, time, &json!({"f:data": {"f:nonce": {}}}));
        let check = |fields: &[Value], expected: Option<&str>| {
            assert_eq!(writer(&object(fields)).as_deref(), expected, "{fields:?}");
        };
        check(&[operator("1")], None);
        check(
            &[operator("1"), other("kubectl-edit", "2")],
            Some("kubectl-edit"),
        );
        check(&[operator("3"), other("kubectl-edit", "2")], None);
        check(&[operator("1"), other("vso-prober", "2")], None);
    }

    #[test]
    fn what_holds_an_object_is_told_once_it_is_deleted() {
        let mut object = json!({"metadata": {"finalizers": ["a/b", "own", "foregroundDeletion"]}});
        let own = |name: &str| name == "own";
        assert!(holders(&object, own).is_empty());
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(holders(&object, own), ["a/b"]);
    }
}
