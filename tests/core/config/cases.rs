//! Wrong configurations. The missing part of a case is appended, right, so that its lines keep their numbers.

/// The name of a case and what is written.
pub(crate) const WRONG: &[(&str, &str)] = &[
    // Syntax.
    ("empty file", "\n# nothing but a comment\n"),
    ("not a mapping", "- name: static\n"),
    (
        "tab as indentation",
        "vault:\n\taddress: http://vault:8200\n",
    ),
    ("unclosed bracket", "probes: [\n"),
    (
        "unclosed brace",
        "server: {listen: '127.0.0.1:1'\ninstance: a\n",
    ),
    ("unclosed quote", "instance: \"default\n"),
    ("colon in a plain value", "instance: one: two\n"),
    (
        "wrong indentation",
        "server:\n    listen: 127.0.0.1:1\n  instance: a\n",
    ),
    ("second document", "instance: a\n---\ninstance: b\n"),
    ("custom tag", "instance: !env INSTANCE\n"),
    ("unknown alias", "instance: *name\n"),
    ("alias within its anchor", "push: &a {pushgateway: *a}\n"),
    ("list as a key", "[a, b]: c\n"),
    (
        "deep nesting",
        "push: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    ),
    // Structure.
    ("unknown key at the top", "prober:\n  name: a\n"),
    (
        "misspelt key",
        "vault:\n  adress: http://vault:8200\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    ("snake case", "operator:\n  pod_selector: app=vso\n"),
    ("merge key", "kubernetes:\n  <<: {namespace: a}\n"),
    (
        "a value in the place of a key is not repeated",
        "vault:\n  auth:\n    token: {hvs.CAESIJ0000}\n",
    ),
    (
        "a token in the place of its source is not repeated",
        "vault:\n  auth:\n    token: hvs.CAESIJ0000\n",
    ),
    (
        "a token in the place of a variable's name is not repeated",
        "vault:\n  auth:\n    token: {env: hvs.CAESIJ0000}\n",
    ),
    (
        "key written twice",
        "server: {listen: '127.0.0.1:1'}\ninstance: a\nserver: {listen: '127.0.0.1:2'}\n",
    ),
    ("list for a mapping", "server: [listen]\n"),
    ("mapping for a list", "probes:\n  name: a\n"),
    ("number for a string", "instance: 7\n"),
    (
        "old boolean",
        "operator:\n  metrics:\n    url: http://127.0.0.1:8080/metrics\n    insecureSkipVerify: yes\n",
    ),
    (
        "string for a number",
        "operator:\n  metrics:\n    pods: {port: '8443', scheme: HTTPS}\n",
    ),
    (
        "port out of range",
        "operator:\n  metrics:\n    pods: {port: 84430}\n",
    ),
    ("no value", "instance:\nhistory:\n  path:\n"),
    ("empty string", "instance: ''\n"),
    ("null in a list", "probes:\n- \n"),
    (
        "no probes",
        "vault: {auth: {token: {env: VAULT_TOKEN}}}\nprobes: []\n",
    ),
    ("nothing but an instance", "instance: a\nvault:\nprobes:\n"),
    // Vault.
    (
        "no way to log in",
        "vault:\n  address: http://vault:8200\n  auth: {}\n",
    ),
    (
        "two ways to log in",
        "vault:\n  auth:\n    token: {env: VAULT_TOKEN}\n    jwt: {role: a, tokenFile: /t}\n",
    ),
    (
        "unknown way to log in",
        "vault:\n  auth:\n    ldap: {user: a}\n",
    ),
    (
        "token of two sources",
        "vault:\n  auth:\n    token:\n      env: VAULT_TOKEN\n      file: /token\n",
    ),
    (
        "method without what it needs",
        "vault:\n  auth:\n    appRole:\n      roleIdFile: /role-id\n",
    ),
    (
        "role as a path",
        "vault:\n  auth:\n    kubernetes: {role: role/a, mount: /kubernetes/}\n",
    ),
    (
        "address without a scheme",
        "vault:\n  address: vault:8200\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    (
        "address with a port that is none",
        "vault:\n  address: https://vault:http\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    (
        "address with credentials is not repeated",
        "vault:\n  address: https://me:secret@vault:8200\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    (
        "address with the API's prefix",
        "vault:\n  address: https://vault:8200/v1/\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    (
        "address as a variable",
        "vault:\n  address: ${VAULT_ADDR}\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    (
        "hosts of redirects that are none",
        "vault:\n  address: http://vault:8200\n  redirectHosts: ['*', 'https://vault', '*.*.vault', 'vault:8200']\n  auth: {token: {env: VAULT_TOKEN}}\n",
    ),
    // The rest of the top level.
    (
        "names that Kubernetes refuses",
        "kubernetes: {namespace: VSO_probe}\noperator: {namespace: a.b, podSelector: '{app: vso}'}\ninstance: a/b\n",
    ),
    (
        "two sources of metrics",
        "operator:\n  metrics:\n    url: http://127.0.0.1:8080/metrics\n    pods: {}\n",
    ),
    (
        "access to no source of metrics",
        "operator:\n  metrics:\n    caFile: /ca.pem\n",
    ),
    (
        "Prometheus without a selector",
        "operator:\n  metrics:\n    prometheus: {url: 'http://prometheus:9090'}\n",
    ),
    (
        "selector without braces",
        "operator:\n  metrics:\n    prometheus: {url: 'ftp://prometheus', selector: vso}\n",
    ),
    ("listen on no address", "server:\n  listen: :9465\n"),
    (
        "push to nowhere",
        "push:\n  pushgateway: {}\n  remoteWrite: {url: 'http://'}\n",
    ),
    ("history without a path", "history: {retention: 2w}\n"),
    (
        "audit logs here and elsewhere",
        "audit:\n  url: http://judge:9465\n  sources: [{name: a, http: {}}]\n",
    ),
    (
        "audit logs elsewhere, and how they are judged",
        "audit:\n  url: http://judge:9465\n  grace: 5s\n  trace: true\n",
    ),
    (
        "audit logs without a state",
        "audit:\n  sources: [{name: a, http: {}}]\n",
    ),
    // Probes.
    ("probe without a kind", "probes:\n- name: a\n  every: 60s\n"),
    (
        "probe of two kinds",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  pki: {authRef: a, mount: pki, role: r, commonName: c}\n",
    ),
    (
        "probe without a name",
        "probes:\n- static: {authRef: a, mount: kv, type: kv-v2, path: p}\n",
    ),
    (
        "name with capitals",
        "probes:\n- name: Static_KV\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n",
    ),
    (
        "name too long",
        "probes:\n- name: a-name-of-forty-two-characters-which-is-one\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n",
    ),
    (
        "two probes of one name",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n- name: a\n  pki: {authRef: a, mount: pki, role: r, commonName: c}\n",
    ),
    (
        "what a static probe needs",
        "probes:\n- name: a\n  static: {}\n",
    ),
    (
        "wrong type of KV",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv2, path: p}\n",
    ),
    (
        "paths that are none",
        "probes:\n- name: a\n  static: {authRef: a/b/c, mount: /kv, type: kv-v2, path: ../p}\n- name: b\n  dynamic: {authRef: A, mount: data base, path: creds//probe}\n",
    ),
    (
        "key in the probe that belongs in its kind",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  refreshAfter: 10s\n",
    ),
    (
        "key of another kind",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, renewalPercent: 50}\n",
    ),
    (
        "durations that are none",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps: {create: 5sec, delete: -1s}\n  every: 60\n  timeout: '30'\n- name: b\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  every: 1d\n  timeout: 0s\n- name: c\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  every: 9999999h\n  timeout: soon\n",
    ),
    (
        "refreshAfter of two units",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, refreshAfter: 1m30s}\n- name: b\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, refreshAfter: 500ms}\n- name: c\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, refreshAfter: 0s}\n- name: d\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, refreshAfter: 1d}\n",
    ),
    (
        "step of another kind",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps: {create: 5s, renew: 5s}\n- name: b\n  dynamic: {authRef: a, mount: db, path: creds/p}\n  steps: {create: 5s, update: 2s}\n- name: c\n  pki: {authRef: a, mount: pki, role: r, commonName: c}\n  steps: {create: 5s, tamper: 5s}\n",
    ),
    (
        "unknown step",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps: {create: 5s, delte: 10s, sync: 5s}\n",
    ),
    (
        "steps without create",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps:\n    delete: 10s\n",
    ),
    (
        "update and tamper without refreshAfter",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps:\n    create: 5s\n    update: 2s\n    tamper: 2s\n",
    ),
    (
        "tamper without HMAC",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p, refreshAfter: 10s, hmacSecretData: false}\n  steps: {create: 5s, tamper: 2s}\n",
    ),
    (
        "threshold beyond the timeout",
        "probes:\n- name: a\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  steps: {create: 1m}\n- name: b\n  static: {authRef: a, mount: kv, type: kv-v2, path: p}\n  timeout: 8s\n",
    ),
    (
        "numbers out of range",
        "probes:\n- name: a\n  dynamic: {authRef: a, mount: db, path: creds/p, renewalPercent: 95}\n  spread: 1.5\n  objective: 1\n- name: b\n  dynamic: {authRef: a, mount: db, path: creds/p, renewalPercent: 67.5}\n  spread: -1\n  objective: 99%\n",
    ),
    (
        "PostgreSQL",
        "probes:\n- name: a\n  dynamic:\n    authRef: a\n    mount: db\n    path: creds/p\n    verify:\n      postgres: {host: 'pg:5432', database: 5, sslMode: prefer}\n",
    ),
    (
        "PKI rotation without an offset",
        "probes:\n- name: a\n  pki: {authRef: a, mount: pki, role: r, commonName: c, ttl: 1h}\n  steps: {create: 5s, rotate: 5s}\n",
    ),
    (
        "PKI offset longer than the certificate's life",
        "probes:\n- name: a\n  pki: {authRef: a, mount: pki, role: r, commonName: c, ttl: 1h, notAfter: 30m, expiryOffset: 45m}\n",
    ),
    // Many at once.
    (
        "everything at once",
        "vault:\n  adress: http://vault:8200\n  auth:\n    kubernetes: {rol: a}\n    jwt: {role: ''}\nkubernetes: vso-probe\noperator:\n  namespace: 5\n  metrics: {url: 127.0.0.1, pods: {scheme: tcp}}\nprobes:\n- name: A\n  static: {authRef: a, type: kv-v3, path: /p/, refreshAfter: 1m30s}\n  steps: {update: 0s, renew: 1s}\n  every: 1 minute\n  spread: high\n- every: 60s\n- static-kv2\nserver: {listen: 9465}\nhistory: {path: '', retention: 30}\nhistory: {}\ninstance: [a]\n",
    ),
    (
        "a mistake by alias is told for each use",
        "probes:\n- name: a\n  static: &kv {authRef: a, mount: /kv, type: kv-v2, path: p}\n- name: b\n  static: *kv\n",
    ),
    (
        "static roles",
        "probes:\n- name: a\n  dynamic: {authRef: a, mount: database, path: static-creds/app}\n- name: b\n  dynamic: {authRef: a, mount: database, path: creds/app, allowStaticCreds: true}\n- name: c\n  dynamic: {authRef: a, mount: database, path: static-creds/app, allowStaticCreds: true, renewalPercent: 50, params: {a: b}}\n  steps: {create: 5s, renew: 5s}\n",
    ),
    (
        "labels of series",
        "labels:\n  probe: a\n  1a: b\n  __name__: c\n  cluster: ''\n  path: a/b\n",
    ),
];
