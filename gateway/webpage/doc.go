// Package webpage is what all public pages have in common: one column without
// script, cookie or account, in the reader's language, with the controller's
// name above and its particulars below (look.md section 2). gateway/unsubscribe
// and the pages of a case are built of it.
//
//	texts, err := webpage.LoadTexts(files, "text/*.toml") // the room's own words
//	pages, err := webpage.NewRenderer(basePath, texts)
//	ask := pages.Ask(w, r, &controller, "/case/"+link, caseLanguage)
//	pages.Render(ask, webpage.Page{Status: 200, Heading: ask.Say("case_heading"), Forms: ...})
//
// Guard sets what each answer carries, Static serves the style sheet at
// BasePath + "/static/", ReadForm reads a POST. A page may hold text, steps,
// facts, forms with tick boxes, choices and fields, and links.
package webpage
