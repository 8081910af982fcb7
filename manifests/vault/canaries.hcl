# The operator's rights for the canaries.
path "kvv2/data/vso-prober/*" { capabilities = ["read"] }
