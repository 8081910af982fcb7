/* Sets the wall clock of one program back by an hour, as long as the file is there that CLOCK_BACK names. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  const char *back = getenv("CLOCK_BACK");
  if (!failed && clock == CLOCK_REALTIME && back && access(back, F_OK) == 0) now->tv_sec -= 3600;
  return failed;
}
