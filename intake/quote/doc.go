// Package quote tells a person's new words apart from what they quote,
// forward or sign with. It reads plain text (HTML mail comes here already
// turned into text, its quotations marked with ">") in every EU language and
// some more. In doubt words count as new: too much text costs an operator a
// minute, a request taken for a quotation is lost.
package quote
