# What the operator may do for the canaries.
path "kvv2/data/vso-prober/*" { capabilities = ["read"] }
