package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// described is the document, as far as the tests read it.
type described struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema }
	}
}

// schema is a JSON schema, of the few words that the document uses for answers.
type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Enum       []any
	Properties map[string]*schema
	Required   []string
	Items      *schema
	Additional any `json:"additionalProperties"`
}

func readDocument(t *testing.T) *described {
	t.Helper()
	d := parse[described](t, document)
	return &d
}

// check reports where a value is not as a schema says.
func (d *described) check(s *schema, v any, at string) error {
	if s == nil {
		return nil
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.check(d.Components.Schemas[name], v, at)
	}
	kind := map[string]bool{}
	switch types := s.Type.(type) {
	case string:
		kind[types] = true
	case []any:
		for _, name := range types {
			kind[name.(string)] = true
		}
	}
	is := fmt.Sprintf("%T", v)
	names := map[string]string{"string": "string", "bool": "boolean", "float64": "number", "<nil>": "null",
		"map[string]interface {}": "object", "[]interface {}": "array"}
	if x, ok := v.(float64); len(kind) > 0 && !kind[names[is]] && !(ok && kind["integer"] && x == float64(int64(x))) {
		return fmt.Errorf("%s is of type %s, want %v", at, names[is], s.Type)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s is %v, want one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			if err := d.check(s.Items, x, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		return d.checkObject(s, v, at)
	}
	return nil
}

func (d *described) checkObject(s *schema, v map[string]any, at string) error {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	for name, x := range v {
		p := s.Properties[name]
		if p == nil && s.Additional == false {
			return fmt.Errorf("%s has %s, which is not described", at, name)
		}
		if err := d.check(p, x, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// TestOpenAPI checks that the document has the routes and the fields that the code has, and that
// answers are as it says.
func TestOpenAPI(t *testing.T) {
	d := readDocument(t)
	s := newTester(t, Options{Broker: func(context.Context) (*BrokerView, error) { return busyBroker(), nil }})
	var got, want []string
	for path, methods := range d.Paths {
		for method := range methods {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	for _, at := range s.table() {
		want = append(want, at.pattern)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-code +document):\n%s", diff)
	}
	inDocument := slices.Sorted(maps.Keys(d.Components.Schemas["Request"].Properties))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(fields)), inDocument); diff != "" {
		t.Errorf("fields of a request (-code +document):\n%s", diff)
	}
	id := s.job(`{"prompt":"1","n":2}`)
	s.ended(id)
	for _, test := range []struct{ method, path, at, body string }{
		{"POST", "/v1/images/generations", "", `{"prompt":"1","n":2}`},
		{"POST", "/v1/images/generations", "", `{"prompt":"1","response_format":"url","steps":7,"policy":"fora:n=2"}`},
		{"POST", "/v1/images/generations", "", `{"prompt":"x"}`},
		{"GET", "/v1/models", "", ""}, {"GET", "/v1/models/{id}", "/v1/models/tiny", ""}, {"GET", "/v1/models/{id}",
			"/v1/models/x", ""},
		{"POST", "/v1/jobs", "", `{"prompt":"1"}`}, {"POST", "/v1/jobs", "", `{"stream":true}`},
		{"GET", "/v1/jobs/{id}", "/v1/jobs/" + id, ""}, {"GET", "/v1/jobs/{id}", "/v1/jobs/" + newID("job"), ""},
		{"POST", "/v1/jobs/{id}/cancel", "/v1/jobs/" + id + "/cancel", ""}, {"GET", "/v1/jobs/{id}", "/v1/jobs/x", ""},
		{"GET", "/v1/queue", "", ""},
		{"GET", "/healthz", "", ""}, {"GET", "/readyz", "", ""}, {"GET", "/openapi.json", "", ""},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			path := test.at
			if path == "" {
				path = test.path
			}
			status, h, b := s.do(test.method, path, test.body)
			response, ok := d.Paths[test.path][strings.ToLower(test.method)].Responses[fmt.Sprint(status)]
			if !ok {
				t.Fatalf("status %d is not described: %s", status, b)
			}
			content, ok := response.Content[h.Get("Content-Type")]
			if !ok {
				t.Fatalf("content type %s is not described", h.Get("Content-Type"))
			}
			if err := d.check(content.Schema, parse[any](t, b), "the answer"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEventSchemas checks that events are as the document says.
func TestEventSchemas(t *testing.T) {
	d := readDocument(t)
	s := newTester(t, Options{})
	id := s.job(`{"prompt":"1","steps":30,"partial_images":1,"previews":true,"policy":"tokencache:ratio=0.25,k=3","response_format":"url"}`)
	_, events := s.ended(id)
	schemas := map[string]string{
		"job.queued": "QueueEvent", "job.running": "QueueEvent", "job.step": "StepEvent", "job.completed": "Job",
		eventPartial: "PartialImageEvent", eventCompleted: "CompletedEvent",
	}
	for _, e := range events {
		body, err := json.Marshal(e.data)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.check(d.Components.Schemas[schemas[e.name]], parse[any](t, body),
			e.name); err != nil || schemas[e.name] == "" {
			t.Errorf("event %s: %v", e.name, err)
		}
	}
	if len(events) < 3 {
		t.Errorf("%d events", len(events))
	}
	if status, _, _ := s.do("GET", "/openapi.json", ""); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}
