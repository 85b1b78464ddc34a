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

// everybody is every role: pages that show no person.
var everybody = auth.Any(auth.Operator, auth.Approver, auth.Auditor, auth.Admin)

// routes is everything the console answers. A test walks it with every role,
// without a session, and without a form token.
var routes = []route{
	{method: "GET", path: "/static/{file}", need: auth.Public(), serve: (*Console).staticFile},
	{method: "GET", path: "/login", need: auth.Public(), serve: (*Console).loginPage},
	{method: "POST", path: "/login", need: auth.Public(), serve: (*Console).login},
	{method: "GET", path: "/login/oidc", need: auth.Public(), serve: (*Console).oidcBegin},
	{method: "GET", path: "/login/oidc/callback", need: auth.Public(), serve: (*Console).oidcFinish},
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

	{method: "GET", path: "/tokens", need: auth.Any(auth.Admin), serve: (*Console).tokensPage},
	{method: "POST", path: "/tokens", need: auth.Any(auth.Admin), serve: (*Console).addToken},
	{method: "POST", path: "/tokens/{id}/end", need: auth.Any(auth.Admin), serve: (*Console).endToken},

	{method: "GET", path: "/sending", need: everybody, serve: (*Console).sending},
	{method: "GET", path: "/sending/stream/{stream}", need: everybody, serve: (*Console).streamPage},
	{method: "GET", path: "/sending/stream/{stream}/mode", need: auth.Any(auth.Admin), serve: (*Console).modePage},
	{method: "POST", path: "/sending/stream/{stream}/mode", need: auth.Any(auth.Admin), serve: (*Console).setMode},
	{method: "GET", path: "/sending/spool", need: everybody, serve: (*Console).spoolPage},
	{method: "GET", path: "/sending/spool/{id}", need: auth.Read(), serve: (*Console).spoolMessage},
	{method: "POST", path: "/sending/spool/{id}", need: auth.Any(auth.Operator, auth.Admin), serve: (*Console).moveSpool},
	{method: "GET", path: "/sending/spool/{id}/drop", need: auth.Any(auth.Operator, auth.Admin), serve: (*Console).dropPage},
	{method: "POST", path: "/sending/spool/{id}/drop", need: auth.Any(auth.Operator, auth.Admin), serve: (*Console).drop},

	{method: "GET", path: "/people", need: auth.Read(), serve: (*Console).peoplePage},
	{method: "POST", path: "/people", need: auth.Read(), serve: (*Console).findPerson},
	{method: "GET", path: "/people/{handle}", need: auth.Read(), serve: (*Console).personPage},
	{method: "POST", path: "/people/{handle}", need: auth.Work(), serve: (*Console).actOnPerson},
	{method: "GET", path: "/people/{handle}/print", need: auth.Read(), serve: (*Console).printPerson},
	{method: "GET", path: "/people/{handle}/export", need: auth.Read(), serve: (*Console).exportPerson},

	{method: "GET", path: "/proof", need: everybody, serve: (*Console).proof},
	{method: "POST", path: "/proof/verify", need: everybody, serve: (*Console).verifyNow},
	{method: "POST", path: "/proof/prove", need: auth.Read(), serve: (*Console).prove},
	{method: "POST", path: "/proof/export", need: auth.Read(), serve: (*Console).exportCases},
	{method: "GET", path: "/proof/automatic", need: auth.Read(), serve: (*Console).automatic},
	{method: "POST", path: "/proof/automatic/{no}", need: auth.Work(), serve: (*Console).judge},
	{method: "GET", path: "/proof/reports", need: everybody, serve: (*Console).reports},
	{method: "GET", path: "/proof/processing", need: everybody, serve: (*Console).processing},

	{method: "GET", path: "/settings", need: everybody, serve: (*Console).settings},
	{method: "GET", path: "/settings/systems", need: everybody, serve: (*Console).systems},
	{method: "POST", path: "/settings/systems/{name}", need: auth.Any(auth.Admin), serve: (*Console).testSystem},
	{method: "GET", path: "/settings/texts", need: everybody, serve: (*Console).replyTexts},
	{method: "GET", path: "/settings/texts/{lang}/{step}", need: everybody, serve: (*Console).replyTextPage},
	{method: "POST", path: "/settings/texts/{lang}/{step}", need: auth.Any(auth.Admin, auth.Approver), serve: (*Console).editReplyText},
	{method: "GET", path: "/settings/wordings", need: everybody, serve: (*Console).wordings},
	{method: "GET", path: "/settings/wordings/{lang}/{stream}", need: everybody, serve: (*Console).signUpPage},
	{method: "POST", path: "/settings/wordings/{lang}/{stream}", need: auth.Any(auth.Admin, auth.Approver), serve: (*Console).editSignUp},

	{method: "GET", path: "/{$}", need: auth.SignedIn(), serve: (*Console).today},

	{method: "GET", path: "/cases", need: auth.Read(), serve: (*Console).cases},
	{method: "POST", path: "/cases/search", need: auth.Read(), serve: (*Console).search},
	{method: "POST", path: "/cases/bulk", need: auth.Work(), serve: (*Console).bulk},
	{method: "GET", path: "/cases/next", need: auth.Read(), serve: (*Console).nextCase},
	{method: "GET", path: "/cases/corrections", need: auth.Any(auth.Auditor, auth.Admin), serve: (*Console).corrections},
	{method: "GET", path: "/cases/new", need: auth.Work(), serve: (*Console).byHandPage},
	{method: "POST", path: "/cases/new", need: auth.Work(), serve: (*Console).openByHand, limit: 1 << 20},
	{method: "GET", path: "/cases/{no}", need: auth.Read(), serve: (*Console).casePage},
	{method: "POST", path: "/cases/{no}/move", need: auth.Work(), serve: (*Console).move},
	{method: "POST", path: "/cases/{no}/reply", need: auth.Work(), serve: (*Console).reply, limit: 1 << 20},
	{method: "POST", path: "/cases/{no}/letters/{n}/take-back", need: auth.Work(), serve: (*Console).takeBack},
	{method: "GET", path: "/cases/{no}/letters/{n}", need: auth.Read(), serve: (*Console).letterPage},
	{method: "POST", path: "/cases/{no}/extend", need: auth.Work(), serve: (*Console).extend},
	{method: "POST", path: "/cases/{no}/deny", need: auth.Work(), serve: (*Console).deny},
	{method: "POST", path: "/cases/{no}/challenge", need: auth.Work(), serve: (*Console).challenge},
	{method: "POST", path: "/cases/{no}/forward", need: auth.Work(), serve: (*Console).forwardCase},
	{method: "POST", path: "/cases/{no}/hand-over", need: auth.Work(), serve: (*Console).handOver},
	{method: "POST", path: "/cases/{no}/collect", need: auth.Work(), serve: (*Console).collect},
	{method: "POST", path: "/cases/{no}/colleague", need: auth.Work(), serve: (*Console).askColleague},
	{method: "POST", path: "/cases/{no}/tasks/{n}/link", need: auth.Work(), serve: (*Console).taskLink},
	{method: "POST", path: "/cases/{no}/split", need: auth.Work(), serve: (*Console).splitCase},
	{method: "POST", path: "/cases/{no}/legal-hold", need: auth.Work(), serve: (*Console).legalHold},
	{method: "POST", path: "/cases/{no}/weighing", need: auth.Work(), serve: (*Console).weigh},
	{method: "POST", path: "/cases/{no}/lifting", need: auth.Work(), serve: (*Console).lift},
	{method: "POST", path: "/cases/{no}/breach", need: auth.Work(), serve: (*Console).breach},
	{method: "GET", path: "/cases/{no}/marketing", need: auth.Work(), serve: (*Console).marketingPage},
	{method: "POST", path: "/cases/{no}/marketing", need: auth.Work(), serve: (*Console).decideStop},
	{method: "POST", path: "/cases/{no}/hold", need: auth.Work(), serve: (*Console).decideHold},
	{method: "POST", path: "/cases/{no}/result", need: auth.Work(), serve: (*Console).enterResult},
	{method: "POST", path: "/cases/{no}/editing", need: auth.Work(), serve: (*Console).editing},
	{method: "POST", path: "/cases/{no}/approval", need: auth.Work(), serve: (*Console).withdrawWish},
	{method: "GET", path: "/cases/{no}/erase", need: auth.Read(), serve: (*Console).erasePage},
	{method: "POST", path: "/cases/{no}/erase/dry", need: auth.Work(), serve: (*Console).eraseDry},
	{method: "POST", path: "/cases/{no}/erase/ask", need: auth.Work(), serve: (*Console).eraseAsk},
	{method: "POST", path: "/cases/{no}/erase/approve", need: auth.Any(auth.Approver), serve: (*Console).eraseApprove},
	{method: "GET", path: "/cases/{no}/denial", need: auth.Any(auth.Approver), serve: (*Console).denialPage},
	{method: "POST", path: "/cases/{no}/denial", need: auth.Any(auth.Approver), serve: (*Console).denialApprove},
	{method: "GET", path: "/cases/{no}/package", need: auth.Read(), serve: (*Console).packagePage},
	{method: "GET", path: "/cases/{no}/package/files/{id}", need: auth.Read(), serve: (*Console).packageDownload},
	{method: "POST", path: "/cases/{no}/package/build", need: auth.Work(), serve: (*Console).buildPackage},
	{method: "POST", path: "/cases/{no}/package/tick", need: auth.Work(), serve: (*Console).tickFile, limit: packageMost + 1<<20},
	{method: "POST", path: "/cases/{no}/package/checklist", need: auth.Work(), serve: (*Console).setChecklist, limit: 1 << 20},
	{method: "POST", path: "/cases/{no}/package/release", need: auth.Work(), serve: (*Console).releasePackage},
	{method: "POST", path: "/cases/{no}/package/code", need: auth.Work(), serve: (*Console).newCode},
	{method: "GET", path: "/cases/{no}/proof", need: auth.Read(), serve: (*Console).caseProof},
	{method: "GET", path: "/cases/{no}/mails/{i}/original", need: auth.Read(), serve: (*Console).original},
	{method: "GET", path: "/cases/{no}/mails/{i}/html", need: auth.Read(), serve: (*Console).asSent},
	{method: "GET", path: "/cases/{no}/mails/{i}/files/{n}", need: auth.Read(), serve: (*Console).file},
	{method: "GET", path: "/cases/{no}/mails/{i}/files/{n}/picture", need: auth.Read(), serve: (*Console).filePicture},
	{method: "GET", path: "/cases/{no}/mails/{i}/files/{n}/destroy", need: auth.Work(), serve: (*Console).destroyPage},
	{method: "POST", path: "/cases/{no}/mails/{i}/files/{n}/destroy", need: auth.Work(), serve: (*Console).destroyFile},
	{method: "POST", path: "/cases/{no}/mails/{i}/files/{n}/removed", need: auth.Work(), serve: (*Console).fileRemoved},
	{method: "GET", path: "/cases/{no}/mails/{i}/files/{n}/text", need: auth.Read(), serve: (*Console).fileText},

	{method: "GET", path: "/aside", need: auth.Work(), serve: (*Console).asidePage},
	{method: "POST", path: "/aside/looked", need: auth.Work(), serve: (*Console).lookThrough},
	{method: "POST", path: "/aside/{id}", need: auth.Work(), serve: (*Console).promote},
}
