# The output of `vso-prober doctor --print-policy` for manifests/base/config.yaml; print it again when that changes.
path "kvv2/data/vso-prober/default/*"     { capabilities = ["create", "update", "read"] }
path "kvv2/metadata/vso-prober/default/*" { capabilities = ["list", "delete"] }
path "auth/token/renew-self"              { capabilities = ["update"] }
path "auth/token/revoke-self"             { capabilities = ["update"] }

# For `vso-prober doctor` alone; no run needs it.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "sys/capabilities-self"  { capabilities = ["update"] }
