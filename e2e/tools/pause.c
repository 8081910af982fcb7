/* Holds the namespaces of a Pod open, and does nothing else. */
#include <unistd.h>

int main(void) {
  for (;;)
    pause();
}
