package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain returns a writer of text to w that writes control characters, which could change what a
// terminal shows, and bytes that are no UTF-8 as escapes that JSON has too, such as \u001b. Line
// breaks and tabs stay. Each Write must have whole characters.
func Plain(w io.Writer) io.Writer { return plainWriter{w} }

type plainWriter struct{ w io.Writer }

func (p plainWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, PlainText(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// PlainText returns text as Plain writes it.
func PlainText(text string) string {
	harmless := func(r rune) bool {
		return r == '\n' || r == '\t' || !unicode.Is(unicode.C, r) && r != utf8.RuneError
	}
	if strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case harmless(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(text[i:]); size > 1 {
				b.WriteRune(r)
				continue
			}
			fmt.Fprintf(&b, "\\u%04x", text[i])
		case r > 0xffff:
			fmt.Fprintf(&b, "\\U%08x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// maxMessage bounds a message, which may quote names from files.
const maxMessage = 16 << 10

// Message returns a message for a terminal: plain, and not longer than is read.
func Message(text string) string {
	if len(text) > maxMessage {
		cut := strings.ToValidUTF8(text[:maxMessage], "")
		text = fmt.Sprintf("%s ... (%d bytes more)", cut, len(text)-len(cut))
	}
	return PlainText(text)
}
