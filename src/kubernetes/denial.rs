//! The denial of a request by the API server: by what, told by its own words, as its codes don't tell.

/// What denies a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Whoever asks lacks the right.
    Rights,
    /// A quota is used up.
    Quota,
    /// Something else: a policy, a webhook, the form of the object.
    Other,
}

/// What denies a request that came back with this error, if it was denied.
pub fn denial(error: &kube::Error) -> Option<Denial> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let says = |words: &str| status.message.contains(words);
    Some(match status.code {
        403 if says("cannot ") && says(" resource ") => Denial::Rights,
        403 if says("exceeded quota") => Denial::Quota,
        400..=499 => Denial::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_denial_is_told_by_what_the_api_server_says() {
        let check = |code, message: &str, expected| {
            let status = Status::failure(message, "Forbidden").with_code(code);
            let told = denial(&kube::Error::Api(status.boxed()));
            assert_eq!(told, expected, "{message}");
        };
        let rights = "vaultstaticsecrets.secrets.hashicorp.com is forbidden: User \"u\" cannot create resource \"vaultstaticsecrets\" in API group \"secrets.hashicorp.com\" in the namespace \"n\"";
        check(403, rights, Some(Denial::Rights));
        let quota = "vaultstaticsecrets.secrets.hashicorp.com \"a\" is forbidden: exceeded quota: q, requested: count/vaultstaticsecrets=1, used: 0, limited: 0";
        check(403, quota, Some(Denial::Quota));
        let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no";
        check(422, policy, Some(Denial::Other));
        check(500, "", None);
    }
}
