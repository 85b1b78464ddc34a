package queue

import (
	"errors"
	"fmt"
	"slices"
)

// State is where a case stands.
type State string

const (
	Received  State = "received"  // stored, nobody looked yet
	Identity  State = "identity"  // waits for proof of who asks (GDPR Art. 12(6))
	Opened    State = "open"      // an operator is at it
	Waiting   State = "waiting"   // waits for fulfilment by a system, a colleague or a date
	Answered  State = "answered"  // the answer left
	Closed    State = "closed"    // done, its proof complete
	Denied    State = "denied"    // refused with reasons (Art. 12(4), 12(5))
	Forwarded State = "forwarded" // handed to the controller or out of the house
	Merged    State = "merged"    // a duplicate, lives on in another case
	Withdrawn State = "withdrawn" // the person took the request back
)

// Action is one legal move or note in the life of a case.
type Action string

const (
	ActOpen     Action = "open"     // the case begins
	ActAttach   Action = "attach"   // another mail belongs to it
	ActStart    Action = "start"    // an operator takes it up
	ActAsk      Action = "ask"      // identity is asked for
	ActIdentify Action = "identify" // identity is shown, or waived with a reason
	ActWait     Action = "wait"     // for fulfilment
	ActResume   Action = "resume"   // fulfilment came back
	ActExtend   Action = "extend"   // the period is extended, with notice (Art. 12(3))
	ActAnswer   Action = "answer"   // the answer left
	ActBounced  Action = "bounced"  // the answer or notice did not arrive
	ActClose    Action = "close"    // done
	ActDeny     Action = "deny"     // refused
	ActForward  Action = "forward"  // handed on
	ActMerge    Action = "merge"    // into another case
	ActWithdraw Action = "withdraw" // by the person
	ActReopen   Action = "reopen"   // something was missing
	ActSuppress Action = "suppress" // an opt-out of this case binds the relay
	ActHold     Action = "hold"     // an address named in the text waits for an operator
	ActReceipt  Action = "receipt"  // the receipt left
	ActSilent   Action = "silent"   // no receipt, with the rule why
	ActRemind   Action = "remind"   // a reminder went to the operators
	ActAlert    Action = "alert"    // a person has to look at once
	ActLabel    Action = "label"    // an operator corrected what was asked
	ActPaused   Action = "paused"   // the clock stood still while identity was asked for
	ActSent     Action = "sent"     // a letter without further effect left
	ActTaken    Action = "taken"    // a letter was taken back before it left
	ActUnsent   Action = "unsent"   // a letter could not leave
	ActUnsure   Action = "unsure"   // a process died while a letter left: a person has to look
	ActRelease  Action = "release"  // an opt-out of this case was reverted
	ActDo       Action = "do"       // a system was asked to fulfil
	ActResult   Action = "result"   // a system answered
	ActAssign   Action = "assign"   // who is in charge
	ActNote     Action = "note"     // a remark
	ActPropose  Action = "propose"  // an act that needs a second operator
	ActPackage  Action = "package"  // the copy of the data was put together, ticked or released
	ActFetched  Action = "fetched"  // the person fetched it, or tried to
	ActLift     Action = "lift"     // the person was told when the restriction ends, or it ended (Art. 18(3))
	ActDestroy  Action = "destroy"  // a file that came with a mail was destroyed
)

// allActions are for those who subscribe to them.
var allActions = []Action{ActOpen, ActAttach, ActStart, ActAsk, ActIdentify, ActWait, ActResume, ActExtend, ActAnswer, ActBounced, ActClose, ActDeny,
	ActForward, ActMerge, ActWithdraw, ActReopen, ActSuppress, ActHold, ActReceipt, ActSilent, ActRemind, ActAlert, ActLabel, ActPaused, ActSent, ActTaken,
	ActUnsent, ActUnsure, ActRelease, ActDo, ActResult, ActAssign, ActNote, ActPropose, ActPackage, ActFetched, ActLift, ActDestroy}

// ErrMove says that an action is not legal in the state the case is in.
var ErrMove = errors.New("not possible in this state")

// States lists every state, in the order of a case's life.
func States() []State {
	return []State{Received, Identity, Opened, Waiting, Answered, Closed, Denied, Forwarded, Merged, Withdrawn}
}

// live are the states in which the clock runs.
var live = []State{Received, Identity, Opened, Waiting}

// moves is the one table of legal moves: from which states an action may come
// and where it leads; "" stays where it is. Actions not listed leave the state
// alone and are legal in every state.
var moves = map[Action]struct {
	from []State
	to   State
}{
	ActStart:    {[]State{Received}, Opened},
	ActAsk:      {[]State{Received, Opened}, Identity},
	ActIdentify: {[]State{Received, Identity, Opened}, Opened},
	ActWait:     {[]State{Received, Opened}, Waiting},
	ActResume:   {[]State{Waiting}, Opened},
	ActExtend:   {live, ""},
	ActAnswer:   {live, Answered},
	ActBounced:  {[]State{Answered, Closed, Denied, Forwarded, Identity, Opened, Waiting}, Opened},
	ActClose:    {[]State{Received, Opened, Answered}, Closed},
	ActDeny:     {live, Denied},
	ActForward:  {live, Forwarded},
	ActMerge:    {live, Merged},
	ActWithdraw: {live, Withdrawn},
	ActReopen:   {[]State{Answered, Closed, Denied, Forwarded, Withdrawn}, Opened},
}

// next gives the state an action leads to. Errors wrap ErrMove.
func next(s State, a Action) (State, error) {
	m, ok := moves[a]
	if !ok {
		return s, nil
	}
	if !slices.Contains(m.from, s) {
		return s, fmt.Errorf("%s a case that is %s: %w", a, s, ErrMove)
	}
	if m.to == "" {
		return s, nil
	}
	return m.to, nil
}

// Live tells whether the clock of a case in this state runs.
func (s State) Live() bool {
	switch s {
	case Received, Identity, Opened, Waiting:
		return true
	}
	return false
}
