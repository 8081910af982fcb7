//! An entry as it is written: the fields that are read, borrowed from the line. What is in `data` is passed over.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct RawLine<'a> {
    #[serde(borrow)]
    pub(super) time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) auth: Option<RawAuth<'a>>,
    #[serde(borrow)]
    pub(super) request: Option<RawRequest<'a>>,
    #[serde(borrow)]
    pub(super) response: Option<RawResponse<'a>>,
    // The API server's.
    #[serde(borrow)]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "auditID")]
    pub(super) audit_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) verb: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) user: Option<RawUser<'a>>,
    #[serde(borrow, rename = "sourceIPs", default)]
    pub(super) source_ips: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, rename = "userAgent")]
    pub(super) user_agent: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "objectRef")]
    pub(super) object: Option<RawObject<'a>>,
    #[serde(rename = "responseStatus")]
    pub(super) status: Option<RawStatus>,
    #[serde(borrow, rename = "requestReceivedTimestamp")]
    pub(super) received: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawAuth<'a> {
    #[serde(borrow)]
    pub(super) client_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) display_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) policies: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) metadata: Option<RawMetadata<'a>>,
    #[serde(borrow)]
    pub(super) entity_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) token_issue_time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawMetadata<'a> {
    #[serde(borrow)]
    pub(super) role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) role_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) service_account_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) service_account_namespace: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawRequest<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) operation: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) namespace: Option<RawNamespace<'a>>,
    #[serde(borrow)]
    pub(super) mount_point: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) remote_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) client_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) headers: Option<RawHeaders<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RawNamespace<'a> {
    #[serde(borrow)]
    pub(super) path: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawHeaders<'a> {
    #[serde(borrow, rename = "user-agent")]
    pub(super) user_agent: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
pub(super) struct RawResponse<'a> {
    #[serde(borrow)]
    pub(super) auth: Option<RawAuth<'a>>,
    #[serde(borrow)]
    pub(super) wrap_info: Option<RawWrap<'a>>,
}

#[derive(Deserialize)]
pub(super) struct RawWrap<'a> {
    #[serde(borrow)]
    pub(super) token: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawUser<'a> {
    #[serde(borrow)]
    pub(super) username: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawObject<'a> {
    #[serde(borrow)]
    pub(super) resource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) subresource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct RawStatus {
    pub(super) code: Option<u16>,
}
