package classifier

import "postern/classifier/feature"

// Askers of Result.Asker.
const (
	askerSubject   = "subject"
	askerAgent     = "agent"
	askerAuthority = "authority"
	askerCompany   = "company"
)

// Sections of rules/asker.txt.
const (
	speaksAsAgent   = "agent"
	authorityBody   = "authority body"  // police, prosecutors, courts
	authorityPower  = "authority power" // what only they write of
	authorityLetter = "authority letter"
)

// askerOf tells who asks. The model knows the letters of supervisory authorities
// and of companies; police and courts, and those who write for someone else, are
// told by what they say of themselves. Taking a person for an agent costs an
// operator's look; taking an agent for the person would let a stranger act for them.
func (c *Classifier) askerOf(res *Result, units []feature.Unit, agent bool) string {
	said := map[string]bool{}
	for i := range units {
		c.askers.find(units[i].Tokens, func(section string) { said[section] = true })
	}
	switch {
	case res.Has(AuthorityLetter), said[authorityLetter], said[authorityBody] && said[authorityPower]:
		return askerAuthority
	case res.Has(DPARequest) || res.Has(AssistanceRequest):
		return askerCompany
	case agent, said[speaksAsAgent]:
		return askerAgent
	}
	return askerSubject
}
