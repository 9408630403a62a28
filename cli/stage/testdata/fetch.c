/* Fetches / over HTTP from the host named, as a dynamically linked program. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int failed = getaddrinfo(argc > 1 ? argv[1] : "", "80", &hints, &found);
	if (failed) {
		fprintf(stderr, "%s\n", gai_strerror(failed));
		return 1;
	}
	int fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (connect(fd, found->ai_addr, found->ai_addrlen)) {
		perror("connect");
		return 1;
	}
	const char *request = "GET / HTTP/1.0\r\n\r\n";
	if (write(fd, request, strlen(request)) < 0)
		return 1;
	char answer[4096];
	ssize_t n;
	while ((n = read(fd, answer, sizeof answer)) > 0)
		fwrite(answer, 1, n, stdout);
	return 0;
}
