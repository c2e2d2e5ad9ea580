package serve

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificate is a certificate in files, which is read again when they have changed. While they
// cannot be read the last one stays in use.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed [2]time.Time // when the files were changed that are loaded
	looked  time.Time
}

// lookAgain is how often the files are looked at.
const lookAgain = 5 * time.Second

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.loaded != nil && now.Sub(c.looked) < lookAgain {
		return c.loaded, nil
	}
	c.looked = now
	changed := [2]time.Time{changedAt(c.cert), changedAt(c.key)}
	if c.loaded != nil && changed == c.changed {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.loaded != nil {
			return c.loaded, nil
		}
		return nil, fmt.Errorf("certificate %s and key %s: %w", c.cert, c.key, err)
	}
	c.loaded, c.changed = &pair, changed
	return c.loaded, nil
}

// changedAt returns when a file was changed, the zero time if it is not there.
func changedAt(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
