// Package digest makes keys of values, by which kept work is recognised.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Of returns a key of the JSON forms of parts, or of their Go forms where they have none. Equal
// keys mean equal parts.
func Of(parts ...any) string {
	h := sha256.New()
	for _, part := range parts {
		text, err := json.Marshal(part)
		if err != nil {
			text = fmt.Appendf(nil, "%#v", part)
		}
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
