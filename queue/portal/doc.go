// Package portal is the pages of a case for people without account: one column
// without script or cookie (look.md section 2), each in the reader's language.
//
//	/case              a link to the page of a case, by its number and address
//	/case/LINK         what a mailed link is for: is it you, how far is it,
//	                   fetch the copy, a colleague's task
//	/request/CONTROLLER  a request typed instead of mailed
//	/notice/CONTROLLER   the processing notice with its versions (GDPR Art. 13)
//
// GET, HEAD and OPTIONS change nothing, so scanners of links change nothing;
// POST with the page's own form acts. Unknown, used, replaced and ended links
// look alike. No address stands in a URL or in a log. Mount it on the public
// listener with the limits of unsubscribe.Server beside the other public pages.
package portal
