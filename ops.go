package main

// operations are all that the control socket offers.
func (n *node) operations() []operation {
	var all []operation
	for _, list := range [][]operation{
		n.consentOperations(), n.suppressOperations(), n.spoolOperations(),
		n.casesOperations(), n.streamOperations(), n.ledgerOperations(),
		n.doctorOperations(), n.consoleOperations(), n.tokenOperations(), n.hookOperations(), n.nodeOperations(),
	} {
		all = append(all, list...)
	}
	return all
}
