package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

func TestFaultsAreRankedByWhatTheyCost(t *testing.T) {
	erasure, access, stop := classifier.Erasure, classifier.Access, classifier.Unsubscribe
	for name, tc := range map[string]struct {
		labels, missed, wrong []string
		decided               []classifier.Label
		kind                  classifier.Kind
		abstain               bool
		want                  cost
	}{
		"erasure":   {labels: []string{"access"}, wrong: []string{"erasure"}, decided: []classifier.Label{access, erasure}, kind: classifier.KindRequest, want: costErasure},
		"unsure":    {wrong: []string{"erasure"}, decided: []classifier.Label{erasure}, kind: classifier.KindRequest, abstain: true, want: costErasure},
		"spam":      {labels: []string{"access"}, missed: []string{"access"}, kind: classifier.KindSpam, want: costSpam},
		"lost":      {labels: []string{"access"}, missed: []string{"access"}, kind: classifier.KindOther, want: costLost},
		"part":      {labels: []string{"access", "erasure"}, missed: []string{"erasure"}, decided: []classifier.Label{access}, kind: classifier.KindRequest, want: costPart},
		"added":     {wrong: []string{"access"}, decided: []classifier.Label{access}, kind: classifier.KindRequest, want: costAdded},
		"read":      {labels: []string{"erasure"}, missed: []string{"erasure"}, kind: classifier.KindOther, abstain: true, want: costRead},
		"neighbour": {labels: []string{"objection"}, missed: []string{"objection"}, wrong: []string{"unsubscribe"}, decided: []classifier.Label{stop}, kind: classifier.KindRequest, want: costNeighbour},
		"added stop": {labels: []string{"access"}, wrong: []string{"unsubscribe"}, decided: []classifier.Label{access, stop},
			kind: classifier.KindRequest, want: costAdded},
	} {
		t.Run(name, func(t *testing.T) {
			f := fault{letter: letter{labels: tc.labels}, missed: tc.missed, wrong: tc.wrong,
				res: classifier.Result{Decided: tc.decided, Kind: tc.kind, Abstain: tc.abstain}}
			f.weigh()
			require.Equal(t, tc.want, f.cost, "%s", f.cost)
		})
	}
}

func TestWorstFaultsArePrintedFirstAndOnlySoMany(t *testing.T) {
	faults := []fault{
		{letter: letter{source: "small"}, cost: costNeighbour},
		{letter: letter{source: "great"}, cost: costErasure},
		{letter: letter{source: "surer"}, cost: costAdded, sure: 0.9},
		{letter: letter{source: "sure"}, cost: costAdded, sure: 0.8},
	}
	var b bytes.Buffer
	printFaults(&b, faults, 2)
	require.Regexp(t, `(?s)^faults by cost: 1 an erasure not asked for;.*1\. .*great.*2\. .*surer`, b.String())
	require.NotContains(t, b.String(), "small)")
	require.NotContains(t, b.String(), " sure)")
}

func TestCalibrationComparesScoresWithTruth(t *testing.T) {
	c := calibration{}
	for i := range 10 {
		c.add(0.95, i < 9)
		c.add(0.3, i < 5)
	}
	n, score, truth := c.means()
	require.Equal(t, 20, n)
	require.InDelta(t, 0.625, score, 1e-9)
	require.InDelta(t, 0.7, truth, 1e-9)
	require.InDelta(t, (0.05+0.2)/2, c.off(), 1e-9)
	require.Zero(t, (&calibration{}).off())
	c.add(1, true) // the last bin holds 1 itself
}
