package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a request.
const (
	maxBody   = 1 << 20 // bytes
	maxDepth  = 16      // of objects and arrays
	maxPrompt = 32_000  // characters
	maxName   = 1_000   // characters of a field that is a name
	maxImages = 10
	maxSteps  = 1000
	maxUser   = 512
)

// params are the fields of a request for images, as they came; nil and "" are absent.
type params struct {
	Prompt         *string
	Model          string
	N              int
	Size           string
	OutputFormat   string
	Compression    *int
	ResponseFormat string
	Stream         bool
	PartialImages  int
	User           string
	Background     string

	Seed           *uint64
	Steps          string // a number, or as the command line takes it
	Sampler        string
	Spacing        string
	Guidance       *float64
	NegativePrompt string
	Policy         string
	Speed          float64
	MinPSNR        float64
	DType          string
	Class          string
	Priority       string
	Deadline       float64 // seconds; 0: none
	Previews       bool    // of jobs: events tell of every step
}

// fields sets each field of a request from its JSON. Null is as if the field were not there.
var fields = map[string]func(p *params, v value) error{
	"prompt": func(p *params, v value) error {
		text, err := v.text(maxPrompt)
		p.Prompt = &text
		return err
	},
	"model":         func(p *params, v value) (err error) { p.Model, err = v.text(maxName); return },
	"n":             func(p *params, v value) (err error) { p.N, err = v.integer(1, maxImages); return },
	"size":          func(p *params, v value) (err error) { p.Size, err = v.text(maxName); return },
	"output_format": func(p *params, v value) (err error) { p.OutputFormat, err = v.oneOf("png", "jpeg"); return },
	"output_compression": func(p *params, v value) error {
		n, err := v.integer(0, 100)
		p.Compression = &n
		return err
	},
	"response_format": func(p *params, v value) (err error) {
		p.ResponseFormat, err = v.oneOf("b64_json", "url")
		return
	},
	"stream":         func(p *params, v value) (err error) { p.Stream, err = v.boolean(); return },
	"partial_images": func(p *params, v value) (err error) { p.PartialImages, err = v.integer(0, 3); return },
	"user":           func(p *params, v value) (err error) { p.User, err = v.text(maxUser); return },
	// Fields of the official API that concern other models: values that say nothing are taken.
	"background": func(p *params, v value) (err error) { p.Background, err = v.oneOf("auto", "opaque"); return },
	"moderation": func(_ *params, v value) error { _, err := v.oneOf("auto", "low"); return err },
	"quality": func(_ *params, v value) error {
		_, err := v.oneOf("auto", "standard", "hd", "low", "medium", "high")
		return err
	},
	"style": func(_ *params, v value) error { _, err := v.oneOf("vivid", "natural"); return err },

	"seed": func(p *params, v value) error {
		seed, err := v.seed()
		p.Seed = &seed
		return err
	},
	"steps":    func(p *params, v value) (err error) { p.Steps, err = v.steps(); return },
	"sampler":  func(p *params, v value) (err error) { p.Sampler, err = v.text(maxName); return },
	"spacing":  func(p *params, v value) (err error) { p.Spacing, err = v.text(maxName); return },
	"guidance": func(p *params, v value) (err error) { p.Guidance, err = v.optional(0, 1000); return },
	"negative_prompt": func(p *params, v value) (err error) {
		p.NegativePrompt, err = v.text(maxPrompt)
		return
	},
	"policy": func(p *params, v value) (err error) { p.Policy, err = v.text(maxName); return },
	"speed":  func(p *params, v value) (err error) { p.Speed, err = v.speed(); return },
	"min_psnr": func(p *params, v value) (err error) {
		p.MinPSNR, err = v.number(0, 1000)
		if err == nil && p.MinPSNR == 0 {
			err = invalid(v.name, "invalid_value", "min_psnr 0: want more than 0 dB")
		}
		return
	},
	"dtype": func(p *params, v value) (err error) {
		if p.DType, err = v.oneOf("auto", "float32", "f32", "bf16", "int8"); p.DType == "float32" {
			p.DType = "f32"
		}
		return
	},
	"class":    func(p *params, v value) (err error) { p.Class, err = v.class(); return },
	"priority": func(p *params, v value) (err error) { p.Priority, err = v.oneOf("low", "normal", "high"); return },
	"deadline": func(p *params, v value) (err error) { p.Deadline, err = v.number(0.001, 86400); return },
	"previews": func(p *params, v value) (err error) { p.Previews, err = v.boolean(); return },
}

// readBody returns the body of a request that must be JSON.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, newError(http.StatusUnsupportedMediaType, typeInvalid, "unsupported_media_type",
			"the content type is %q: want application/json", abbreviate(kind))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, invalid("body", "request_too_large", "the body has more than %d bytes", maxBody)
	case err != nil:
		return nil, invalid("body", "unreadable", "the body ended before it was complete, or took too long")
	case !utf8.Valid(body):
		return nil, invalid("body", "invalid_json", "the body is not UTF-8")
	}
	return body, nil
}

// readTimeout is how long a client may take to send a body.
const readTimeout = 30 * time.Second

// decodeParams reads the fields of a request for images.
func decodeParams(body []byte) (*params, error) {
	p := &params{N: 1}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if depth(body) > maxDepth {
		return nil, invalid("body", "too_deep", "the body has objects or arrays nested deeper than %d", maxDepth)
	}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, invalid("body", "invalid_json", "the body is no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, invalid("body", "invalid_json", "the body is no JSON object: %v", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, invalid(abbreviate(name), "invalid_json", "%s: %v", abbreviate(name), err)
		}
		set := fields[name]
		switch {
		case set == nil:
			return nil, invalid(abbreviate(name), "unknown_parameter", "unknown parameter %q", abbreviate(name))
		case seen[name]:
			return nil, invalid(name, "duplicate_parameter", "%s is there twice", name)
		}
		seen[name] = true
		if string(raw) == "null" {
			continue
		}
		if err := set(p, value{name, raw}); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("body", "invalid_json", "the body is no JSON object: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("body", "invalid_json", "there is something after the JSON object")
	}
	return p, nil
}

// depth returns how deeply objects and arrays are nested in a text that may be JSON.
func depth(body []byte) int {
	deepest, now, quoted, escaped := 0, 0, false, false
	for _, b := range body {
		switch {
		case escaped:
			escaped = false
		case quoted && b == '\\':
			escaped = true
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			now++
			deepest = max(deepest, now)
		case b == '}' || b == ']':
			now--
		}
	}
	return deepest
}

// value is the JSON of a field.
type value struct {
	name string
	raw  json.RawMessage
}

func (v value) wrong(want string) error {
	return invalid(v.name, "invalid_type", "%s %s: want %s", v.name, abbreviate(string(v.raw)), want)
}

func (v value) text(most int) (string, error) {
	var s string
	if v.raw[0] != '"' || json.Unmarshal(v.raw, &s) != nil {
		return "", v.wrong("a string")
	}
	if n := utf8.RuneCountInString(s); n > most {
		return "", invalid(v.name, "string_above_max_length", "%s has %d characters: want at most %d", v.name, n, most)
	}
	if strings.ContainsRune(s, 0) {
		return "", invalid(v.name, "invalid_value", "%s has a zero byte", v.name)
	}
	return s, nil
}

func (v value) oneOf(names ...string) (string, error) {
	s, err := v.text(maxName)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if s == name {
			return s, nil
		}
	}
	return "", invalid(v.name, "invalid_value", "%s %q: want %s", v.name, abbreviate(s), strings.Join(names, " or "))
}

func (v value) boolean() (b bool, err error) {
	if json.Unmarshal(v.raw, &b) != nil {
		return false, v.wrong("true or false")
	}
	return b, nil
}

func (v value) isNumber() bool { return v.raw[0] == '-' || v.raw[0] >= '0' && v.raw[0] <= '9' }

func (v value) integer(least, most int) (int, error) {
	n, err := strconv.Atoi(string(v.raw))
	if err != nil || !v.isNumber() {
		return 0, v.wrong("a whole number from " + strconv.Itoa(least) + " to " + strconv.Itoa(most))
	}
	if n < least || n > most {
		return 0, invalid(v.name, "invalid_value", "%s %d: want %d to %d", v.name, n, least, most)
	}
	return n, nil
}

func (v value) number(least, most float64) (float64, error) {
	x, err := strconv.ParseFloat(string(v.raw), 64)
	if err != nil || !v.isNumber() {
		return 0, v.wrong("a number")
	}
	if !(x >= least && x <= most) {
		return 0, invalid(v.name, "invalid_value", "%s %s: want %g to %g", v.name, abbreviate(string(v.raw)), least, most)
	}
	return x, nil
}

func (v value) optional(least, most float64) (*float64, error) {
	x, err := v.number(least, most)
	return &x, err
}

// seed reads a seed: a number, or a string for languages whose numbers cannot hold it.
func (v value) seed() (uint64, error) {
	seed, err := strconv.ParseUint(strings.Trim(string(v.raw), `"`), 10, 64)
	if err != nil {
		return 0, v.wrong("a whole number from 0 to 2^64-1")
	}
	return seed, nil
}

// steps reads steps: a number, or a string as the command line takes it.
func (v value) steps() (string, error) {
	if v.raw[0] == '"' {
		return v.text(maxName)
	}
	n, err := v.integer(1, maxSteps)
	return strconv.Itoa(n), err
}

// speed reads a speed: 2.4 or "2.4x".
func (v value) speed() (float64, error) {
	text := string(v.raw)
	if text[0] == '"' {
		s, err := v.text(maxName)
		if err != nil {
			return 0, err
		}
		text = strings.TrimSuffix(s, "x")
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x > 1 && x < 1000) {
		return 0, v.wrong("a number above 1, such as 2.4")
	}
	return x, nil
}

// class reads a class: its number or its name.
func (v value) class() (string, error) {
	if v.raw[0] == '"' {
		return v.text(maxName)
	}
	n, err := v.integer(0, 1<<31-1)
	return strconv.Itoa(n), err
}
