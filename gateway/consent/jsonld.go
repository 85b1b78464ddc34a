package consent

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"postern/gateway/stream"
)

// Records and receipts in the shape of ISO/IEC TS 27560:2023 (sections Header,
// Processing, Parties, Events), said in the Data Privacy Vocabulary as JSON-LD.
// The subject appears as its pseudonym. A receipt for the person holds no
// marketing (CON-6).

const (
	ldSchema  = "https://w3id.org/dpv/schema/dpv-27560"
	ldContext = "https://w3id.org/dpv"
)

type ld = map[string]any

// WriteRecords writes the consent records of a profile as JSON-LD, one per
// exact form and purpose. c tells who the controller is.
func (p Profile) WriteRecords(w io.Writer, c stream.Controller) error {
	return writeLD(w, p.linked(c))
}

func (p Profile) linked(c stream.Controller) ld {
	graph := []ld{}
	for _, k := range p.Consents {
		graph = append(graph, k.record(p, c))
	}
	return ld{"@context": ldNames(), "@graph": graph}
}

// WriteReceipt writes the receipt of one consent for the person, made at t: it
// names the record and repeats it (TS 27560 section on receipts).
func (p Profile) WriteReceipt(w io.Writer, k Consent, c stream.Controller, t time.Time) error {
	return writeLD(w, ld{
		"@context":                    ldNames(),
		"@id":                         "urn:postern:receipt:" + k.Evidence,
		"@type":                       "dpv:ConsentReceipt",
		"dct:identifier":              "receipt-" + k.Evidence,
		"dct:conformsTo":              ldSchema + "#receipt-record",
		"dct:created":                 stamp(t),
		"dct:publisher":               c.Name,
		"schema:recipient":            "dpv:DataSubject",
		"dpv:hasRecordOfActivity":     k.record(p, c),
		"dpv:hasRight":                []string{"eu-gdpr:A7-3", "eu-gdpr:A21", "eu-gdpr:A77"},
		"dpv:hasSupervisoryAuthority": c.Authority,
	})
}

func writeLD(w io.Writer, v ld) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write consent record: %w", err)
	}
	return nil
}

func ldNames() ld {
	return ld{
		"dpv": ldContext + "#", "eu-gdpr": ldContext + "/legal/eu/gdpr#", "loc": ldContext + "/loc#", "pd": ldContext + "/pd#",
		"dct": "http://purl.org/dc/terms/", "schema": "https://schema.org/", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
	}
}

// record is one consent: header, processing, parties, events.
func (k Consent) record(p Profile, c stream.Controller) ld {
	first := Terms{}
	events := []ld{}
	for _, e := range k.History {
		if e.Terms.Wording != "" && (first.Wording == "" || e.ID == k.Evidence) {
			first = e.Terms
		}
		events = append(events, e.event())
	}
	subject := ld{"@type": "dpv:DataSubject"}
	if len(p.Subjects) > 0 {
		subject["@id"] = "urn:postern:subject:" + p.Subjects[0].String()
	}
	process := ld{
		"@type":               "dpv:Process",
		"dpv:hasPurpose":      ld{"@type": "dpv:DirectMarketing", "dct:identifier": k.Purpose},
		"dpv:hasPersonalData": "pd:EmailAddress",
		"dpv:hasProcessing":   []string{"dpv:Store", "dpv:Use"},
		"dpv:hasDataSource":   first.Source,
	}
	if !k.Expires.IsZero() {
		process["dpv:hasStorageCondition"] = ld{"@type": "dpv:StorageDuration", "dpv:hasDuration": ld{"@type": "dpv:UntilTimeDuration", "rdf:value": stamp(k.Expires)}}
	}
	return ld{
		"@id": "urn:postern:consent:" + k.Evidence, "@type": "dpv:ConsentRecord",
		"dct:identifier": k.Evidence, "dct:conformsTo": ldSchema + "#record", "dct:hasVersion": fmt.Sprint(termsVersion),
		"dct:created": stamp(k.Since), "dpv:hasDataSubject": subject,
		"dpv:hasDataController": ld{
			"@type": "dpv:DataController", "dct:identifier": p.Controller, "schema:name": c.Name,
			"schema:address": c.Postal, "schema:email": c.Contact, "schema:addressCountry": c.Country,
		},
		"dpv:hasJurisdiction": first.Jurisdiction, "dpv:hasLegalBasis": legalBasis(k.Basis),
		"dpv:hasProcess": process, "dpv:hasConsentStatus": ldStatus(k.Status),
		"dpv:hasNotice": ld{
			"@type": "dpv:ConsentNotice", "dct:description": first.Wording, "dct:hasVersion": first.WordingVer,
			"dct:language": first.Language, "schema:url": first.PolicyURL,
		},
		"dpv:hasActivity": events,
	}
}

func (e EventRecord) event() ld {
	x := ld{
		"@id": "urn:postern:event:" + e.ID, "@type": ldAction(e), "dct:date": stamp(e.Time),
		"dpv:hasIndicationMethod": e.Terms.Method, "dct:source": e.Terms.Source, "dpv:isIndicatedBy": indicatedBy(e),
	}
	if e.Ref != "" {
		x["dct:relation"] = "urn:postern:event:" + e.Ref
	}
	return x
}

func indicatedBy(e EventRecord) string {
	switch {
	case e.Guardian:
		return "dpv:ParentOfDataSubject"
	case personal(e.Terms.Method):
		return "dpv:DataSubject"
	}
	return "dpv:DataController"
}

func ldAction(e EventRecord) string {
	switch e.Action {
	case Withdrawn, Objected:
		return "dpv:ConsentWithdrawn"
	case Expired:
		return "dpv:ConsentExpired"
	case Given:
		if e.Pending {
			return "dpv:ConsentRequested"
		}
		if e.Unproven {
			return "dpv:ConsentUnknown"
		}
	}
	return "dpv:ConsentGiven"
}

func ldStatus(s Status) string {
	switch s {
	case StatusActive:
		return "dpv:ConsentGiven"
	case StatusWithdrawn, StatusObjected:
		return "dpv:ConsentWithdrawn"
	case StatusExpired:
		return "dpv:ConsentExpired"
	case StatusPending:
		return "dpv:ConsentRequested"
	}
	return "dpv:ConsentUnknown"
}

func legalBasis(b Basis) any {
	switch b {
	case Express:
		return "eu-gdpr:A6-1-a"
	case SoftOpt:
		return ld{"@type": "dpv:LegitimateInterest", "dct:source": "Directive 2002/58/EC Art. 13(2)"}
	case Implied:
		return ld{"@type": "dpv:ImpliedConsent", "dct:source": "CASL s.10(9)"}
	}
	return "dpv:LegalBasis"
}
