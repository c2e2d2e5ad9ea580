package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestPlainText(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n":             "plain\ttext\n",
		"größer, 12 µs, 5×5, 数":     "größer, 12 µs, 5×5, 数",
		"\x1b[31mred\x1b]0;title\a": `\u001b[31mred\u001b]0;title\u0007`,
		"line\rback\bspace\x00\x7f": `line\u000dback\u0008space\u0000\u007f`,
		"C1 \u009b31m":              `C1 \u009b31m`,
		"turned \u202e round":       `turned \u202e round`,
		"not UTF-8: \xff":           `not UTF-8: \u00ff`,
		"replaced \ufffd":           "replaced \ufffd",
	} {
		t.Run(want, func(t *testing.T) {
			if got := PlainText(text); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestPlainJSON checks that JSON stays the same JSON.
func TestPlainJSON(t *testing.T) {
	const name = "\x1b[31m \u009b \u202e \x7f"
	var out bytes.Buffer
	if err := json.NewEncoder(Plain(&out)).Encode(name); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e\x7f") {
		t.Errorf("control characters in %q", out.String())
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != name {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMessage(t *testing.T) {
	long := Message(strings.Repeat("é", 1<<20))
	if len(long) > maxMessage+100 || !strings.HasSuffix(long, " bytes more)") || strings.Contains(long, "\ufffd") {
		t.Errorf("%d bytes, ends in %q", len(long), long[len(long)-30:])
	}
	if got := Message("short"); got != "short" {
		t.Errorf("%q", got)
	}
}
