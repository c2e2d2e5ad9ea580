package report_test

import (
	"testing"

	"github.com/tokencache/tokencache/report"
)

// TestCommandQuotes checks that words are written so that a POSIX shell reads them as they are.
func TestCommandQuotes(t *testing.T) {
	for word, want := range map[string]string{
		"fashion":       "fashion",
		"models/a-1.pt": "models/a-1.pt",
		"my model.pt":   "'my model.pt'",
		"it's":          `'it'\''s'`,
		"":              "''",
		"$HOME":         "'$HOME'",
		`runs\a`:        `'runs\a'`,
	} {
		t.Run(word, func(t *testing.T) {
			if got := report.NewCommand(word).String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestCommandSwitch(t *testing.T) {
	c := report.NewCommand("tokencache").Switch("--clip", true).Switch("--labels", false).Optional("--vae", "")
	if got := c.String(); got != "tokencache --clip" {
		t.Errorf("got %s, want tokencache --clip", got)
	}
}
