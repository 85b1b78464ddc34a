// Package feature turns the text of a mail into what the classifier's linear
// model reads: sentences, folded words, and hashed features of them. It is
// shared by the classifier and the command that trains it, so that both see a
// mail alike.
package feature
