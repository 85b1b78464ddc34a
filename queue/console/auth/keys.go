package auth

// Every key of this room; all share the hash tag {console}, so that one script
// may touch several of them on a Redis Cluster.
const (
	prefix = "pc:{console}:"

	keyUsers   = prefix + "users"   // set of account names; no end
	keyPersons = prefix + "persons" // hash, operator name → whose it is besides; no end
	keySetup   = prefix + "setup"   // string: SHA-256 of the set-up code, hex; lives setupLife
)

// keyUser is the hash of an account: hash, roles, totp (sealed), last (counter
// of the last code taken), theme, language, keys, created, disabled, oidc (digest of issuer and subject where a provider signs it
// in; such a one has no hash); no end.
func keyUser(name string) string { return prefix + "user:" + name }

// keySession is the hash of a session by the SHA-256 of its cookie: user,
// created, seen, token (sealed ID token, where a provider signed the user in);
// it lives for the idle time.
func keySession(id string) string { return prefix + "session:" + id }

// keySessions is the set of a user's session ids; ended ones are removed when
// the set is read; no end.
func keySessions(name string) string { return prefix + "sessions:" + name }

// keyTries counts failed log-ins of one kind and source; lives triesWindow.
func keyTries(kind, of string) string { return prefix + "tries:" + kind + ":" + of }

// keyLink is the account name of an identity at the provider; no end.
func keyLink(of string) string { return prefix + "oidc:" + of }

// keyAnswer marks an answer of the provider as used; lives SignInFor.
func keyAnswer(of string) string { return prefix + "oidc-used:" + of }

// keyEditing is the hash of who writes in a case: user name to time in Unix s;
// it lives a little longer than the last sign counts.
func keyEditing(no string) string { return prefix + "editing:" + no }
