package console

import "postern/queue/console/auth"

// route is one line of the table: what is served, to whom, by what.
type route struct {
	method string
	path   string // pattern of http.ServeMux
	need   auth.Need
	serve  func(*Console, *visit) error
	limit  int64 // octets of a body; 0: 64 KiB
	raw    bool  // no page: the handler writes by itself, without a deadline (the live stream)
}

// routes is everything the console answers. A test walks it with every role,
// without a session, and without a form token.
var routes = []route{
	{method: "GET", path: "/static/{file}", need: auth.Public(), serve: (*Console).staticFile},
	{method: "GET", path: "/login", need: auth.Public(), serve: (*Console).loginPage},
	{method: "POST", path: "/login", need: auth.Public(), serve: (*Console).login},
	{method: "GET", path: "/setup", need: auth.Public(), serve: (*Console).setupPage},
	{method: "POST", path: "/setup", need: auth.Public(), serve: (*Console).setup},
	{method: "POST", path: "/logout", need: auth.SignedIn(), serve: (*Console).logout},
	{method: "GET", path: "/live", need: auth.Read(), serve: (*Console).liveStream, raw: true},

	{method: "GET", path: "/account", need: auth.SignedIn(), serve: (*Console).accountPage},
	{method: "POST", path: "/account/preferences", need: auth.SignedIn(), serve: (*Console).setPreferences},
	{method: "POST", path: "/account/password", need: auth.SignedIn(), serve: (*Console).setPassword},
	{method: "POST", path: "/account/codes", need: auth.SignedIn(), serve: (*Console).setCodes},
	{method: "POST", path: "/account/sessions", need: auth.SignedIn(), serve: (*Console).endSessions},

	{method: "GET", path: "/users", need: auth.Any(auth.Admin), serve: (*Console).usersPage},
	{method: "POST", path: "/users", need: auth.Any(auth.Admin), serve: (*Console).addUser},
	{method: "POST", path: "/users/{name}", need: auth.Any(auth.Admin), serve: (*Console).changeUser},

	{method: "GET", path: "/{$}", need: auth.SignedIn(), serve: (*Console).today},
}
