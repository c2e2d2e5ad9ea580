package checkpoint

import (
	"strings"
	"testing"
)

func TestUnmarshalText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"as it should be", `{"n": 3, "x": 0.5, "names": ["a"]}`, ""},
		{"a byte order mark", "\uFEFF{\"n\": 3}", ""},
		{"UTF-16", "\xFF\xFE{\x00}\x00", "f.json: UTF-16, want UTF-8"},
		{"no bytes", "", "f.json: empty, want JSON"},
		{"no content", "\uFEFF \n", "f.json: empty, want JSON"},
		{"a list", `[1]`, "f.json: a list, want an object of keys and values"},
		{"a text for a number", `{"n": "3"}`, "f.json: n is a text, want a whole number"},
		{"a fraction", `{"n": 3.5}`, "f.json: n is the number 3.5, want a whole number"},
		{"a list for a number", `{"x": [1]}`, "f.json: x is a list, want a number"},
		{"a text for a list", `{"names": "a"}`, "f.json: names is a text, want a list"},
		{"a number for a text", `{"names": [1]}`, "f.json: names is a number, want a text"},
		{"a number for a truth", `{"inner": {"on": 1}}`, "f.json: inner.on is a number, want true or false"},
		{"NaN", "{\n\"x\": NaN}", "f.json: not JSON: line 2: invalid character 'N'"},
		{"cut off", "{\"x\":\n", "f.json: not JSON: line 1: unexpected end of JSON input"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v struct {
				N     int      `json:"n"`
				X     float64  `json:"x"`
				Names []string `json:"names"`
				Inner struct {
					On bool `json:"on"`
				} `json:"inner"`
			}
			err := UnmarshalText("f.json", []byte(c.text), &v)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
