package serve

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tokencache/tokencache/internal/regularfile"
)

// Key is somebody who may use the API.
type Key struct {
	name   string
	hash   [sha256.Size]byte
	weight float64 // share of the processor, next to other keys
	most   int     // requests in hand at a time; 0: any number

	inHand atomic.Int64
}

// Keys are all who may use the API.
type Keys struct{ list []*Key }

// prefix of keys, by which they are known where they should not be.
const keyPrefix = "tc-"

// NewKey returns a new key and the line that lets it in, for the file of keys.
func NewKey(name string) (key, line string, err error) {
	if name == "" || strings.ContainsAny(name, " \t\n#") {
		return "", "", fmt.Errorf("name of a key %q: want one word", name)
	}
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(key))
	return key, name + " sha256:" + hex.EncodeToString(sum[:]), nil
}

// OpenKeys reads a file of keys.
func OpenKeys(path string) (*Keys, error) {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer f.Close()
	k, err := ReadKeys(f)
	if err != nil {
		return nil, fmt.Errorf("keys %s: %w", path, err)
	}
	return k, nil
}

// ReadKeys reads keys, a line for each: a name, the key's hash as NewKey writes it, and perhaps
// weight=X (1), the share of the processor next to other keys, and requests=N (any number), how
// many may be in hand at a time. What follows a # is a comment.
func ReadKeys(r io.Reader) (*Keys, error) {
	k := &Keys{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		key, err := parseKey(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, other := range k.list {
			if other.name == key.name {
				return nil, fmt.Errorf("line %d: the name %s is there twice", n, key.name)
			}
		}
		k.list = append(k.list, key)
	}
	return k, lines.Err()
}

func parseKey(words []string) (*Key, error) {
	key := &Key{name: words[0], weight: 1}
	if len(words) < 2 {
		return nil, fmt.Errorf("key %s has no hash", key.name)
	}
	digits, ok := strings.CutPrefix(words[1], "sha256:")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != len(key.hash) {
		return nil, fmt.Errorf("key %s: hash: want sha256: and 64 hexadecimal digits", key.name)
	}
	copy(key.hash[:], sum)
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "weight":
			if key.weight, err = strconv.ParseFloat(value, 64); err != nil || !(key.weight >= 0.01 && key.weight <= 100) {
				return nil, fmt.Errorf("key %s: %s: want a weight from 0.01 to 100", key.name, word)
			}
		case "requests":
			if key.most, err = strconv.Atoi(value); err != nil || key.most < 1 {
				return nil, fmt.Errorf("key %s: %s: want 1 or more requests", key.name, word)
			}
		default:
			return nil, fmt.Errorf("key %s: %q: want weight=X or requests=N", key.name, word)
		}
	}
	return key, nil
}

// find returns the key that a request presents, nil if it is none of them. It takes as long for
// any text.
func (k *Keys) find(presented string) *Key {
	sum := sha256.Sum256([]byte(presented))
	var found *Key
	for _, key := range k.list {
		if subtle.ConstantTimeCompare(sum[:], key.hash[:]) == 1 {
			found = key
		}
	}
	return found
}

// named returns the key of a name; where it is gone, or there is no list, one that has nothing
// special.
func (k *Keys) named(name string) *Key {
	if k != nil {
		for _, key := range k.list {
			if key.name == name {
				return key
			}
		}
	}
	return &Key{name: name, weight: 1}
}

// presented returns the key that a request has.
func presented(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

// anybody returns the key of a request where there is no list of keys. On this machine those that
// present the same one share; elsewhere those of the same address, as anybody can make up keys.
func (s *Server) anybody(r *http.Request) *Key {
	if !s.o.LocalOnly {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		return &Key{name: "address-" + host, weight: 1}
	}
	name := "anybody"
	if key := presented(r); key != "" {
		sum := sha256.Sum256([]byte(key))
		name = "anybody-" + hex.EncodeToString(sum[:4])
	}
	return &Key{name: name, weight: 1}
}
