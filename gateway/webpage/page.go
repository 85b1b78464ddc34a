package webpage

// Page is one answer in words: a column of text with forms, the same shape for
// each. Everything in it is escaped.
type Page struct {
	Status  int // of HTTP
	Heading string
	Lead    []string // paragraphs
	Quote   string   // words that were agreed to or written before, line breaks kept
	Steps   []Step   // where something stands, in order
	Facts   []Fact   // short particulars
	Parts   []Part   // longer texts under headings of their own
	Forms   []Form
	After   []string // paragraphs below the forms
	Links   []Anchor // a line each
}

// Step is one of the stations of something that goes on.
type Step struct {
	Name string
	Note string // a date, or what is waited for
	Done bool
	Here bool // it stands here now
}

// Fact is a short particular with its name.
type Fact struct{ Name, Value string }

// Part is a text under its heading; its line breaks are kept.
type Part struct{ Heading, Text string }

// Form posts to Action. The fields come in the order of this struct.
type Form struct {
	Action    string
	Heading   string // where it is one of several things to do on a page
	Lead      string
	Hidden    []Pair
	Legend    string  // over Checks or Choices
	Checks    []Check // any number of them
	Choices   []Check // exactly one; all with the same Name
	Groups    []Group // further choices
	Fields    []Field
	Upload    bool // there is a file among the fields
	Button    string
	Secondary bool // the button is not what most come for
}

// Group is one more choice of exactly one among several.
type Group struct {
	Legend  string
	Choices []Check
}

// Pair is a hidden field.
type Pair struct{ Name, Value string }

// Check is a tick box, or one choice among several.
type Check struct {
	Name, Value, Label, Note string
	On                       bool
}

// Field is a line or, with Rows, an area to type in.
type Field struct {
	Name, Label  string
	Type         string // of the input: text, email, date, file (any number of them) ...
	Autocomplete string // WCAG 1.3.5; "" is off
	Note, Value  string
	Rows         int // > 0: an area of that many lines
	Optional     bool
	Most         int // characters; 0 is no limit
}

// Anchor is a link.
type Anchor struct {
	Text, Href, Lang string
	Here             bool // it is where the reader is
}
